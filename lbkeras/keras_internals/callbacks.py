"""What Keras' callbacks keep to themselves, and SwapEMAWeights beside a checkpoint."""

import math

import keras

from lbkeras.keras_internals.names import private

# Attributes that hold state and are not public, by class.
PRIVATE_STATE = {
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
    keras.callbacks.ModelCheckpoint: ("_batches_seen_since_last_saving",),
    keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch"),
}


def private_state(kind: type) -> set[str]:
    """The names of private attributes in which instances of a callback class keep state."""
    return {
        name for each, names in PRIVATE_STATE.items() if issubclass(kind, each) for name in names
    }


def keep_both_at_the_end(callbacks: list) -> list:
    """Lets SwapEMAWeights keep the trained weights beside their averages in the last epoch too.

    Keras' callback writes the averages over them when the last epoch ends, and a checkpoint written
    then could not go on with more epochs. Call it when `fit` begins, and `finish_averages` after
    the last checkpoint.

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


def finish_averages(swapping: list) -> None:
    """What Keras would have done in the last epoch: the averages are what `fit` ends with."""
    for each in swapping:
        private(each, "_finalize_ema_values")()
