"""The private state of Keras' callbacks is where keras_internals looks for it."""

import inspect

import keras
import numpy as np
import pytest

from lbkeras.keras_internals.callbacks import (
    PRIVATE_STATE,
    finish_averages,
    keep_both_at_the_end,
    private_state,
)


@pytest.mark.parametrize("kind", PRIVATE_STATE, ids=lambda kind: kind.__name__)
def test_keras_sets_what_is_kept(kind):
    for name in PRIVATE_STATE[kind]:
        assert f"self.{name} = " in inspect.getsource(kind)
    assert private_state(type("Mine", (kind,), {})) == set(PRIVATE_STATE[kind])
    assert private_state(keras.callbacks.EarlyStopping) == set()


def trained(*after) -> tuple[list, list]:
    """Returns weights and averages after a fit with SwapEMAWeights followed by other callbacks."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    x, y = np.ones((4, 1)), np.zeros((4, 1))
    callbacks = [swap, *(make(swap) for make in after)]
    model.fit(x, y, batch_size=1, epochs=2, verbose=0, callbacks=callbacks)
    averages = [v for v in model.optimizer.variables if "average" in v.path]
    return [np.array(v) for v in model.trainable_variables], [np.array(v) for v in averages]


def test_the_last_epoch_keeps_the_trained_weights_until_it_is_finished():
    class Keeps(keras.callbacks.Callback):
        """Keeps both, as a checkpoint does."""

        def __init__(self, swap):
            super().__init__()
            self.swap = swap

        def on_train_begin(self, logs=None):
            self.swapping = keep_both_at_the_end([self.swap, self])
            assert self.swapping == [self.swap]

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                pairs = zip(
                    self.model.trainable_variables,
                    [v for v in self.model.optimizer.variables if "average" in v.path],
                    strict=True,
                )
                assert all((np.array(a) != np.array(b)).all() for a, b in pairs)
                finish_averages(self.swapping)

    for ours, expected in zip(trained(Keeps), trained(), strict=True):
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(a, b)
