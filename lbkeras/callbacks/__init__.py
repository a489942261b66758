"""Keras callbacks: the batch size, the record of a run, checkpoints, TensorBoard."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
