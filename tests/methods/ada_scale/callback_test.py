import contextlib
import math

import keras
import numpy as np
import pytest

from lbkeras.callbacks import (
    AdaScale,
    BatchSizeScheduler,
    Checkpoint,
    GradientNoiseScale,
    MicroBatches,
    TrainingStatistics,
)
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.keras_internals.optimizer import learning_rate_of
from lbkeras.planning import Phase, Plan, ada_scale_plan
from lbkeras.schedules import steps
from tests.methods.micro_batches import piece_gradients as pieces


def a_model(learning_rate=0.05, optimizer=None, strategy=None, **compile_arguments):
    keras.utils.set_random_seed(0)
    with strategy.scope() if strategy else contextlib.nullcontext():
        layers = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 16), keras.layers.Flatten()]
        layers += [keras.layers.Dense(8, "tanh"), keras.layers.Dense(10)]
        model = keras.Sequential(layers)
        model.compile(
            optimizer or keras.optimizers.SGD(learning_rate, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            **compile_arguments,
        )
    return model


class Rates(keras.callbacks.Callback):
    """Records the learning rate of each update."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        schedule = learning_rate_of(self.model.optimizer)
        self.values.append(float(schedule(self.model.optimizer.iterations - 1)))


@pytest.fixture(scope="module")
def half(digits):
    return tuple(part[:640] for part in digits)


def johnsons_algorithm(model, train, base, base_updates, rate, num_pieces, epochs):
    """Runs algorithm 1 with fairscale's estimates from the pieces' gradients.

    The gain of an update comes from the gradients before it.
    """
    scale = train.batch_size / base
    decay, smoothing = 0.0, max(1 - scale / 1000, 0)
    variance = squared_norm = progress = velocity = 0.0
    gains, rates = [], []
    for epoch in range(epochs):
        for batch in train.dataset(epoch):
            if decay:
                v, m = max(variance / decay, 1e-6), max(squared_norm / decay, 0)
                gain = (v + m) / (v / scale + m)
            else:
                gain = 1.0
            size = train.batch_size
            each = pieces.gradients(model, batch, pieces.divided(size, size // num_pieces))
            norms, mean = (each**2).sum(-1), each.mean(0)
            n = num_pieces
            sigma2 = norms.sum() * (scale / n) / (n - 1) - mean @ mean * scale / (n - 1)
            mu2 = mean @ mean - sigma2 / scale
            variance = smoothing * variance + (1 - smoothing) * sigma2
            squared_norm = smoothing * squared_norm + (1 - smoothing) * mu2
            decay = smoothing * decay + (1 - smoothing)
            gains.append(gain)
            rates.append(gain * rate(math.floor(progress)))
            velocity = 0.9 * velocity - rates[-1] * mean
            pieces.update(model, velocity)
            progress += gain
            if progress >= base_updates:
                return gains, rates, progress
    return gains, rates, progress


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", ["micro-batches", pytest.param("replicas", marks=pytest.mark.release)]
)
def test_a_run_equals_johnsons_algorithm(half, mirrored, source):
    """Batch 64 instead of 32; the learning rate drops at the base run's 30th and 50th update."""
    curve = steps([0.05, 0.02, 0.01], [1.5, 2.5], 3)
    plan = Plan((Phase(0, 3, 32, 0.05, 0.9),), 640, curve)
    train, rates = Pipeline(half, 64, seed=2), Rates()
    ada = AdaScale(train, learning_rate=plan)
    strategy, micro = (mirrored, None) if source == "replicas" else (None, 32)
    model = a_model(strategy=strategy)
    callbacks = [rates, ada, *([MicroBatches(train, micro)] if micro else [])]
    history = model.fit(train, epochs=6, verbose=0, callbacks=callbacks).history

    schedule = plan.learning_rate_schedule()
    gains, expected, progress = johnsons_algorithm(
        a_model(), train, 32, 60, lambda step: float(schedule(step)), 2, epochs=6
    )
    assert ada.base_updates == 60 <= progress < 62
    assert len(rates.values) == len(gains) == model.optimizer.iterations.numpy()
    assert 1.3 < np.mean(gains) < 1.95 and len(gains) % 10
    np.testing.assert_allclose(rates.values, expected, rtol=1e-4)
    assert history["adascale_progress"][-1] == pytest.approx(progress, rel=1e-5)
    assert history["adascale_gain"][0] == pytest.approx(gains[10], rel=1e-4)
    assert {"gradient_noise_scale", "gradient_variance"} <= history.keys()
    assert model.optimizer.learning_rate.numpy() == pytest.approx(0.05)


def test_a_gradient_without_noise_gains_nothing(half):
    """If all examples are equal, the gain is 1, and the run makes as many updates as the base."""
    same = tuple(np.repeat(part[:1], 320, axis=0) for part in half)
    train, rates = Pipeline(same, 64), Rates()
    ada = AdaScale(train, base_batch_size=16, base_epochs=1)
    model = a_model()
    model.fit(train, epochs=9, verbose=0, callbacks=[ada, MicroBatches(train, 16), rates])
    assert len(rates.values) == 20 and ada.progress == pytest.approx(20, abs=0.01)
    np.testing.assert_allclose(rates.values, 0.05, rtol=1e-3)


def test_the_base_batch_size_itself(half):
    """Scale 1 is plain SGD, even with undivided batches."""
    train, plain = Pipeline(half, 64, seed=2), Pipeline(half, 64, seed=2)
    model, other = a_model(), a_model()
    model.fit(train, epochs=5, verbose=0, callbacks=[AdaScale(train, 64, 2)])
    other.fit(plain, epochs=2, verbose=0)
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_several_steps_per_execution_and_a_changing_batch_size(half):
    """The run stops in the call that reaches the end; the gain follows the batch size at once."""
    train = Pipeline(half, 32, seed=2)
    ada = AdaScale(train, base_batch_size=16, base_epochs=2)
    sizes = BatchSizeScheduler(train, lambda epoch, size: 32 if epoch == 0 else 64)
    model = a_model(steps_per_execution=4)
    callbacks = [ada, sizes, MicroBatches(train, 16), TrainingStatistics(train)]
    history = model.fit(train, epochs=8, verbose=0, callbacks=callbacks).history
    gains, progress = history["adascale_gain"], history["adascale_progress"]
    assert 1 < gains[0] <= 2 < gains[1] <= 4
    assert 80 <= progress[-1] < 80 + 4 * 4 and progress[-2] < 80
    assert int(model.optimizer.iterations) % 4 == 0
    # The logged rate is the last update's, not the next one's.
    assert history["learning_rate"][0] == pytest.approx(0.05 * gains[0], rel=0.1)
    assert history["learning_rate"][0] != pytest.approx(0.05 * gains[0], rel=1e-6)


class Killed(Exception):
    pass


class KillAt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations >= 25:
            raise Killed


@pytest.mark.release
def test_a_killed_run_resumes(half, tmp_path):
    def run(folder, kill=()):
        train = Pipeline(half, 64, seed=2)
        model, rates = a_model(), Rates()
        others = [AdaScale(train, 16, 3), MicroBatches(train, 16)]
        others += [BatchSizeScheduler(train, lambda epoch, size: 32 if epoch % 2 else 64)]
        checkpoint = Checkpoint(folder, train, others, minutes=0)
        first = checkpoint.restore(model)
        callbacks = [*others, rates, checkpoint, *kill]
        history = model.fit(
            train, epochs=9, initial_epoch=first, verbose=0, callbacks=callbacks
        ).history
        return model, rates.values, history

    model, rates, expected = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", [KillAt()])
    other, resumed, history = run(tmp_path / "killed")
    assert resumed == rates[25:]
    for name in ("adascale_gain", "adascale_progress", "gradient_noise_scale"):
        assert history[name] == expected[name][1:]
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_fit_that_is_too_short_warns_and_can_continue(half):
    train = Pipeline(half, 64, seed=2)
    ada = AdaScale(train, 16, 2)
    model, callbacks = a_model(), [ada, MicroBatches(train, 16)]
    with pytest.warns(UserWarning, match=r"AdaScale: fit ended at \d+ of the base run's 80 upd"):
        model.fit(train, epochs=1, verbose=0, callbacks=callbacks)
    before = ada.progress
    model.fit(train, epochs=9, verbose=0, callbacks=callbacks)
    assert 10 < before < 40 and 80 <= ada.progress < 84
    assert "_gradient_statistics" not in vars(model)


def test_errors_of_the_user(half):
    train = Pipeline(half, 64)

    def fit(ada, model=None, others=()):
        (model or a_model()).fit(train, verbose=0, callbacks=[ada, *others])

    with pytest.raises(UserError, match="AdaScale: expected micro-batches or replicas.*MicroBatch"):
        fit(AdaScale(train, 32, 1))
    with pytest.raises(UserError, match="AdaScale: expected SGD .* received Adam"):
        fit(AdaScale(train, 32, 1), a_model(optimizer=keras.optimizers.Adam()))
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    with pytest.raises(UserError, match="learning_rate: AdaScale and the optimizer's CosineDecay"):
        fit(AdaScale(train, 32, 1), a_model(schedule))
    with pytest.raises(UserError, match="callbacks: expected one that measures gradients"):
        fit(AdaScale(train, 32, 1), others=[GradientNoiseScale(train)])
    with pytest.raises(UserError, match="base_batch_size: expected a whole number .* None"):
        AdaScale(train, base_epochs=1)
    with pytest.raises(UserError, match="base_epochs: expected a whole number .* None"):
        AdaScale(train, 32)
    plan = ada_scale_plan(
        epochs=2, base_batch_size=16, batch_size=64, base_learning_rate=0.05, momentum=0.9,
        num_examples=640,
    )  # fmt: skip
    for name, value in (("base_batch_size", 8), ("base_epochs", 1), ("learning_rate", 0.1)):
        with pytest.raises(UserError, match=f"{name}: expected none with an ada_scale_plan"):
            AdaScale(train, plan=plan, **{name: value})


def test_a_plan_sets_the_base_run(half):
    plan = ada_scale_plan(
        epochs=2, base_batch_size=16, batch_size=64, base_learning_rate=0.05, momentum=0.9,
        num_examples=640, decay="polynomial",
    )  # fmt: skip
    train = Pipeline(half, 64, seed=2)
    from_plan, given = AdaScale(train, plan=plan), AdaScale(train, learning_rate=plan.base)
    assert from_plan.micro_batch_size == from_plan.base_batch_size == 16
    assert from_plan.base_updates == given.base_updates == plan.base.updates() == 80
    schedule = plan.base.learning_rate_schedule()
    for update in (0, 17, 79):
        assert float(from_plan.learning_rate(update)) == float(schedule(update))
    # Any other plan, such as a config passes to its callbacks, sets nothing of the base run.
    assert AdaScale(train, 32, 1, plan=plan.base).base_batch_size == 32


def test_a_saved_model_keeps_its_rate(half, tmp_path):
    train = Pipeline(half, 64, seed=2)

    class Save(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.save(tmp_path / "model.keras")
            self.rate = float(self.model.optimizer.learning_rate)

    save, model = Save(), a_model()
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 60)
    ada = AdaScale(train, 32, 3, learning_rate=schedule)
    with pytest.warns(UserWarning, match="fit ended at"):
        model.fit(train, verbose=0, callbacks=[ada, MicroBatches(train, 16), save])
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(loaded.optimizer.learning_rate) == pytest.approx(save.rate)


def test_a_plan_in_the_wrong_place_or_for_other_data_is_refused(half):
    train = Pipeline(half, 128)
    settings = dict(epochs=2, base_batch_size=32, batch_size=128)
    settings |= dict(base_learning_rate=0.1, momentum=0.9)
    plan = ada_scale_plan(**settings, num_examples=640)
    with pytest.raises(UserError, match="learning_rate: .* received an ada_scale_plan, .* plan="):
        AdaScale(train, learning_rate=plan)  # else the large batch would pass for the small one
    other = ada_scale_plan(**settings, num_examples=1280)
    message = "expected one for 640 examples .the pipeline's., received one for 1280"
    with pytest.raises(UserError, match=f"plan: {message}"):
        AdaScale(train, plan=other)
    with pytest.raises(UserError, match=f"learning_rate: {message}"):
        AdaScale(train, learning_rate=other.base)
