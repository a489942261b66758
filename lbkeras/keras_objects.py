"""Imports every class of ours that stands in saved models, so that Keras finds it by its name."""

import keras

from lbkeras import layers, optimizers
from lbkeras.schedules import EpochLearningRateSchedule

__all__ = ["EpochLearningRateSchedule", "layers", "optimizers"]

if keras.backend.backend() == "tensorflow":
    from lbkeras import trainers

    __all__ += ["trainers"]
