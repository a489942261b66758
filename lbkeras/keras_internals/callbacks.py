"""Private state of Keras' callbacks, and SwapEMAWeights together with a checkpoint."""

import math

import keras

from lbkeras.keras_internals.names import private

# Private attributes that hold state, by class.
PRIVATE_STATE = {
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
    keras.callbacks.ModelCheckpoint: ("_batches_seen_since_last_saving",),
    keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch"),
}


def private_state(kind: type) -> set[str]:
    """Returns the names of private attributes in which a callback class keeps state."""
    return {
        name for each, names in PRIVATE_STATE.items() if issubclass(kind, each) for name in names
    }


def keep_both_at_the_end(callbacks: list) -> list:
    """Makes SwapEMAWeights keep both the trained weights and their averages in the last epoch too.

    Keras' callback overwrites the trained weights with the averages when the last epoch ends, and a
    run could not continue from a checkpoint written then. Call this when `fit` begins, and
    `finish_averages` after the last checkpoint.

    Returns:
        The callbacks that swap at the end of each epoch.
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
    """Does what Keras would have done in the last epoch: the model ends with the averages."""
    for each in swapping:
        private(each, "_finalize_ema_values")()
