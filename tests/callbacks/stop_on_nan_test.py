import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler, Checkpoint, Diverged, StopOnNaN
from lbkeras.data import Pipeline


def fit(model, digits, directory, weight, epochs=3):
    """Example 600 is in update 3 of each epoch; its weight is bad from the second epoch."""
    weights = np.ones(len(digits[1]), np.float32)
    sources = (digits[0], digits[1], weights)
    train = Pipeline(sources, 256, shuffle=False)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    checkpoint = Checkpoint(directory, train, [scheduler])
    callbacks = [StopOnNaN(), scheduler, checkpoint]
    model.fit(train, epochs=1, verbose=0, callbacks=callbacks)
    weights = weights.copy()
    weights[600] = weight
    train = Pipeline((digits[0], digits[1], weights), 256, shuffle=False)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    callbacks = [StopOnNaN(), scheduler, Checkpoint(directory, train, [scheduler])]
    model.fit(train, epochs=epochs, initial_epoch=1, verbose=0, callbacks=callbacks)


@pytest.mark.parametrize(
    "weight, steps_per_execution, message",
    [
        (np.nan, 1, r"became NaN at update 9 \(epoch 2\) with learning rate 0.1$"),
        (np.inf, 1, r"became infinite at update 9 \(epoch 2\)"),
        (np.nan, 2, r"became NaN at updates 9 to 10 \(epoch 2\)"),
        (np.nan, 4, r"became NaN at updates 7 to 10 \(epoch 2\)"),
        (np.nan, 50, r"became NaN at updates 7 to 12 \(epoch 2\)"),
    ],
)
def test_diverged(compiled, digits, tmp_path, weight, steps_per_execution, message):
    model = compiled(steps_per_execution=steps_per_execution)
    with pytest.raises(Diverged, match=f"^the loss {message}"):
        fit(model, digits, tmp_path, weight)
    assert [path.name for path in tmp_path.iterdir()] == ["update_000000006.npz"]


def test_finite(compiled, digits, tmp_path):
    model = compiled()
    fit(model, digits, tmp_path, 2.0)
    assert model.optimizer.iterations == 18


def test_only_the_evaluation_is_not_finite(compiled, digits, tmp_path):
    model, train = compiled(), Pipeline(digits, 256)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    callbacks = [StopOnNaN(), scheduler, Checkpoint(tmp_path, train, [scheduler])]
    validation = (*digits, np.full(len(digits[1]), np.nan, np.float32))
    with pytest.raises(Diverged, match=r"became NaN at update 5 \(epoch 1\)"):
        model.fit(train, epochs=3, verbose=0, validation_data=validation, callbacks=callbacks)
    assert list(tmp_path.iterdir()) == []
