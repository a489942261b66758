"""Data sets and the pipeline that feeds them to `model.fit`."""

from lbkeras.data.load import load
from lbkeras.data.pipeline import Pipeline

__all__ = ["Pipeline", "load"]
