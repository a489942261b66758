"""Losses that large-batch papers use and Keras lacks."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
