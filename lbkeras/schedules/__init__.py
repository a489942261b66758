"""Learning-rate curves over epochs, scaling rules, and the Keras schedule made of them.

All but `EpochLearningRateSchedule`, `SteeredLearningRate` and `AdaScaleLearningRate`, which load
when first touched, works without Keras.
"""

from lbkeras.schedules.curve import (
    Curve,
    Segment,
    cosine,
    linear_to_zero,
    polynomial,
    prepend_warm_up,
    steps,
    warm_up,
)
from lbkeras.schedules.rmsprop_to_sgd import rmsprop_to_sgd_fraction
from lbkeras.schedules.scaling import linear_scaling, square_root_scaling

__all__ = [
    "AdaScaleLearningRate",
    "Curve",
    "EpochLearningRateSchedule",
    "Segment",
    "SteeredLearningRate",
    "cosine",
    "linear_scaling",
    "linear_to_zero",
    "polynomial",
    "prepend_warm_up",
    "rmsprop_to_sgd_fraction",
    "square_root_scaling",
    "steps",
    "warm_up",
]


def __getattr__(name: str):
    if name == "AdaScaleLearningRate":
        from lbkeras.schedules.ada_scale_learning_rate import AdaScaleLearningRate

        return AdaScaleLearningRate
    if name == "EpochLearningRateSchedule":
        from lbkeras.schedules.epoch_learning_rate import EpochLearningRateSchedule

        return EpochLearningRateSchedule
    if name == "SteeredLearningRate":
        from lbkeras.schedules.steered_learning_rate import SteeredLearningRate

        return SteeredLearningRate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
