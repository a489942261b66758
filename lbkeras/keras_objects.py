"""Imports every class of ours that stands in saved models, so that Keras finds it by its name."""

from lbkeras import layers, optimizers
from lbkeras.schedules import EpochLearningRateSchedule

__all__ = ["EpochLearningRateSchedule", "layers", "optimizers"]
