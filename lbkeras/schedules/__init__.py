"""Learning-rate curves over epochs, scaling rules, and the Keras schedules made of them.

Only `EpochLearningRateSchedule`, `SteeredLearningRate` and `AdaScaleLearningRate` need Keras; they
are imported on first use.
"""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
