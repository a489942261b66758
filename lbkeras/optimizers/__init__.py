"""Optimizers from the large-batch literature, as ordinary Keras optimizers."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
