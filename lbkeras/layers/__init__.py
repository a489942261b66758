"""Layers that large-batch papers use and Keras lacks, and functions that put them into models."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
