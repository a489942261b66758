"""Imports every class of ours that stands in saved models, so that Keras finds it by its name."""

import keras

from lbkeras import layers, optimizers
from lbkeras.schedules import EpochLearningRateSchedule, SteeredLearningRate

__all__ = ["EpochLearningRateSchedule", "SteeredLearningRate", "layers", "optimizers"]

if keras.backend.backend() == "tensorflow":
    from lbkeras import trainers
    from lbkeras.schedules.ada_scale_learning_rate import AdaScaleLearningRate

    __all__ += ["AdaScaleLearningRate", "trainers"]
