"""Layers that large-batch papers need and Keras lacks, and what puts them into models."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
