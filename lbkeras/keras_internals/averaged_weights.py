"""Keras' SwapEMAWeights, beside something that saves at the end of an epoch."""

import math

import keras

from lbkeras.keras_internals.names import private


def keep_both_at_the_end(callbacks: list) -> list:
    """Lets SwapEMAWeights keep the trained weights beside their averages in the last epoch too.

    Keras' callback writes the averages over them when the last epoch ends, and a checkpoint written
    then could not go on with more epochs. Call it when `fit` begins, and `finish` after the last
    checkpoint.

    Returns:
        Those of the callbacks that swap at each epoch's end.
    """
    swapping = [
        each
        for each in callbacks
        if isinstance(each, keras.callbacks.SwapEMAWeights) and each.swap_on_epoch
    ]
    for each in swapping:
        each.set_params({**each.params, "epochs": math.inf})
    return swapping


def finish(swapping: list) -> None:
    """What Keras would have done in the last epoch: the averages are what `fit` ends with."""
    for each in swapping:
        private(each, "_finalize_ema_values")()
