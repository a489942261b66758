"""Data sets and the pipeline that feeds them to `model.fit`."""

from lbkeras.data.load import describe, load
from lbkeras.data.partition import partition
from lbkeras.data.pipeline import Pipeline

__all__ = ["Pipeline", "describe", "load", "partition"]
