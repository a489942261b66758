"""Learning-rate curves over epochs, scaling rules, and the Keras schedule made of them.

All but `EpochLearningRateSchedule`, `SteeredLearningRate` and `AdaScaleLearningRate`, which load
when first touched, works without Keras.
"""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
