"""Reports and verdicts from the records of runs, without TensorFlow.

Names are imported on first use; SciPy and matplotlib only when a verdict or a plot needs them.
"""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
