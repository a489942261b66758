"""Data sets and the pipeline that feeds them to `model.fit`."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
