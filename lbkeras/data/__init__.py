"""Data sets and the pipeline that feeds them to `model.fit`."""

from lbkeras.data.load import describe, load
from lbkeras.data.pipeline import Pipeline

__all__ = ["Pipeline", "describe", "load"]
