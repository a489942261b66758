"""From run records to verdicts: what a replication measured, rendered without TensorFlow.

Names load when first touched; neither SciPy nor matplotlib is imported before a verdict or a plot
needs it.
"""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
