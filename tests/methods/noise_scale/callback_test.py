import contextlib
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler, Checkpoint, GradientNoiseScale, MicroBatches
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from tests.distribution.workers import run_workers
from tests.methods.micro_batches import piece_gradients as pieces

KEYS = [
    "gradient_variance",
    "gradient_squared_norm",
    "gradient_noise_scale",
    "gradient_noise_scale_error",
]


def a_model(optimizer=None, *, noisy=False, strategy=None, **compile_arguments):
    keras.utils.set_random_seed(0)
    with strategy.scope() if strategy else contextlib.nullcontext():
        layers = [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Flatten(),
            keras.layers.Dense(8, "tanh", kernel_regularizer=keras.regularizers.L2(0.02), name="a"),
        ]
        if noisy:
            layers += [keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)]
        model = keras.Sequential([*layers, keras.layers.Dense(10, name="b")])
        model.compile(
            optimizer() if optimizer else keras.optimizers.SGD(0.1, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            **compile_arguments,
        )
    return model


@pytest.fixture(scope="module")
def few(digits):
    """Eight batches of 40 digits."""
    return tuple(part[:320] for part in digits)


def fit(
    model, train, micro_batch_size=None, *, epochs=2, micro_first=False, verbose=0, **arguments
):
    callbacks = [GradientNoiseScale(train, **arguments)]
    if micro_batch_size:
        callbacks.insert(0 if micro_first else 1, MicroBatches(train, micro_batch_size))
    history = model.fit(train, epochs=epochs, verbose=verbose, callbacks=callbacks)
    return callbacks[1 if micro_first and micro_batch_size else 0], history.history


class Momentum:
    """SGD(0.1, momentum=0.9), optionally of gradients clipped to a global norm."""

    def __init__(self, clip=math.inf):
        self.clip, self.velocity = clip, 0

    def __call__(self, model, gradient):
        gradient = gradient * min(1, self.clip / np.sqrt(gradient @ gradient))
        self.velocity = 0.9 * self.velocity - 0.1 * gradient
        pieces.update(model, self.velocity)


def expected_rows(model, train, bounds, rule, *, epochs=2, part=slice(None), factor=None):
    """Returns tr(Σ) and |G|² of each update, by tapes, NumPy and the optimizer `rule`."""
    rows = []
    for epoch in range(epochs):
        for batch in train.dataset(epoch):
            each = pieces.gradients(model, batch, bounds)
            sizes = [stop - start for start, stop in bounds]
            scaled = each if factor is None else each * factor(rule)
            rows.append(pieces.estimates(scaled[:, part], sizes))
            rule(model, np.array(sizes) @ each / sum(sizes))
    return rows


def assert_logs(history, rows, decay, rtol=2e-4):
    expected = dict(zip(KEYS, pieces.means(rows, decay), strict=True))
    for key in KEYS:
        assert history[key][-1] == pytest.approx(expected[key], rel=rtol), key


# Pieces of an update: micro-batches of 16, 16 and 8; two replicas; each of these in 16 and 4.
MICRO = [(0, 16), (16, 32), (32, 40)]
HALVES = [(0, 20), (20, 40)]
BOTH = [(0, 16), (16, 20), (20, 36), (36, 40)]


@pytest.fixture(scope="module")
def rows_of_micro_batches(few):
    return expected_rows(a_model(), Pipeline(few, 40, seed=1), MICRO, Momentum())


@pytest.mark.parametrize("micro_first", [True, False])
def test_micro_batches(few, micro_first, rows_of_micro_batches):
    train = Pipeline(few, 40, seed=1)
    measured, history = fit(a_model(), train, 16, window_epochs=2.0, micro_first=micro_first)
    assert_logs(history, rows_of_micro_batches, math.exp(-40 / 320 / 2))
    assert measured.source == "training"
    for key in ("gradient_noise_scale", "gradient_variance", "gradient_noise_scale_error"):
        assert getattr(measured, key) == history[key][-1]


@pytest.mark.parametrize(
    ("bounds", "micro_batch_size", "steps_per_execution"),
    [
        pytest.param(HALVES, None, 1, marks=pytest.mark.release),
        pytest.param(BOTH, 16, 1, marks=pytest.mark.release),
        (HALVES, None, 3),
    ],
)
@pytest.mark.slow
def test_replicas_with_clipping(few, mirrored, bounds, micro_batch_size, steps_per_execution):
    """The statistics are those of the gradients before clipping."""

    def optimizer():
        return keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.3)

    train = Pipeline(few, 40, seed=1)
    model = a_model(optimizer, strategy=mirrored, steps_per_execution=steps_per_execution)
    measured, history = fit(model, train, micro_batch_size)
    rows = expected_rows(a_model(), train, bounds, Momentum(clip=0.3))
    assert_logs(history, rows, math.exp(-40 / 320))
    assert measured.source == "training"
    plain = a_model(optimizer, strategy=mirrored, steps_per_execution=steps_per_execution)
    others = [MicroBatches(train, micro_batch_size)] if micro_batch_size else []
    train.epoch = 0
    plain.fit(train, epochs=2, verbose=0, callbacks=others)
    assert_same_weights(model, plain)


def test_per_layer_and_a_scaled_loss(few, rows_of_micro_batches):
    def optimizer():
        inner = keras.optimizers.SGD(0.1, momentum=0.9, clipvalue=10.0)
        return keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**12)

    train = Pipeline(few, 40, seed=1)
    model = a_model(optimizer, steps_per_execution=3)
    measured, history = fit(model, train, 16, per_layer=True)
    first = slice(0, 64 * 8 + 8)
    decay = math.exp(-40 / 320)
    assert_logs(history, rows_of_micro_batches, decay)
    layers = {name.rpartition("/")[2]: value for name, value in measured.layers.items()}
    assert sorted(layers) == ["a", "b"]
    rows = expected_rows(a_model(), train, MICRO, Momentum(), part=first)
    assert layers["a"] == pytest.approx(pieces.means(rows, decay)[2], rel=2e-4)
    names = [name for name in history if name.startswith("gradient_noise_scale/")]
    assert len(names) == 2 and history[names[0]][-1] in layers.values()


class Adam:
    """Adam(0.01) in float64."""

    def __init__(self):
        self.t, self.m, self.v = 0, 0, np.zeros(64 * 8 + 8 + 80 + 10)

    def __call__(self, model, gradient):
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        pieces.update(model, -0.01 * m / (np.sqrt(v) + 1e-7))

    def factor(self):
        """1 / √v̂ of the earlier updates, with the variable's mean for this update's share."""
        v, t = self.v / (1 - 0.999 ** max(self.t, 1)), max(self.t, 1)
        share = 0.001 / (1 - 0.999 ** (t + 1))
        parts = np.split(v, np.cumsum([64 * 8, 8, 80]))
        v = np.concatenate([(1 - share) * part + share * part.mean() for part in parts])
        return 1 / (np.sqrt(v) + 1e-7)


@pytest.mark.slow
def test_preconditioned_by_adam(few):
    train = Pipeline(few, 40, seed=1)
    rows = expected_rows(a_model(), train, MICRO, Adam(), factor=Adam.factor)[5:]
    _, history = fit(a_model(lambda: keras.optimizers.Adam(0.01)), train, 16)
    assert_logs(history, rows, math.exp(-40 / 320), rtol=2e-3)
    train.epoch = 0
    _, history = fit(a_model(lambda: keras.optimizers.Adam(0.01)), train, 16, preconditioned=False)
    rows = expected_rows(a_model(), train, MICRO, Adam())
    assert_logs(history, rows, math.exp(-40 / 320), rtol=2e-3)


def test_a_probe(few, capsys):
    """Training without pieces: probes the next epoch's data at the weights after the epoch."""
    train = Pipeline(few, 40, seed=1)
    measured, history = fit(a_model(), train, epochs=1, verbose=2, probe_examples=256)
    assert measured.source == "probe"
    assert [len(history[key]) for key in KEYS] == [1] * 4
    line = "gradient noise scale: from 256 examples probed per epoch (no micro-batches or replicas)"
    assert line in capsys.readouterr().out.splitlines()
    model = a_model()
    rule = Momentum()
    expected_rows(model, train, MICRO, rule, epochs=1)
    batches = [np.concatenate(parts) for parts in zip(*train.dataset(1), strict=True)]
    rows = []
    for first in range(0, 256, 64):
        batch = [part[first : first + 64] for part in batches]
        each = pieces.gradients(model, batch, pieces.divided(64, 8))
        rows.append(pieces.estimates(each, [8] * 8))
    assert_logs(history, rows, math.exp(-1 / 4))


def assert_same_weights(model, other):
    ours = [*model.variables, *model.optimizer.variables]
    theirs = [*other.variables, *other.optimizer.variables]
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), err_msg=a.path
        )


@pytest.mark.parametrize(
    ("micro_batch_size", "steps_per_execution"),
    [
        (16, 1),
        *(pytest.param(None, steps, marks=pytest.mark.release) for steps in (1, 3)),
    ],
)
def test_training_is_the_same_bit_for_bit(few, micro_batch_size, steps_per_execution):
    """With batch norm and dropout, also with a probe."""
    runs = []
    for measure in (True, False):
        train = Pipeline(few, 40, seed=1)
        model = a_model(noisy=True, steps_per_execution=steps_per_execution)
        callbacks = [MicroBatches(train, micro_batch_size)] if micro_batch_size else []
        if measure:
            callbacks.append(GradientNoiseScale(train, per_layer=True))
        runs.append((model, model.fit(train, epochs=3, verbose=0, callbacks=callbacks).history))
    (model, measured), (other, plain) = runs
    assert_same_weights(model, other)
    assert measured["loss"] == plain["loss"]
    assert "train_step" not in vars(model) and "lbkeras.gradient_statistics" not in vars(model)
    assert "_backend_apply_gradients" not in vars(model.optimizer)


def test_the_batch_size_changes(few):
    """Updates are weighted by their examples; undivided batches add nothing."""
    train = Pipeline(few, 40, seed=1)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: (40, 80, 16)[epoch])
    measured = GradientNoiseScale(train)
    callbacks = [measured, scheduler, MicroBatches(train, 20)]
    a_model().fit(train, epochs=2, verbose=0, callbacks=callbacks)
    model, rule, weights, rows = a_model(), Momentum(), [], []
    for epoch, size in enumerate((40, 80)):
        train.batch_size = size
        decay = math.exp(-size / 320)
        for batch in train.dataset(epoch):
            each = pieces.gradients(model, batch, pieces.divided(size, 20))
            rows.append(pieces.estimates(each, [20] * len(each)))
            weights = [weight * decay for weight in weights] + [1 - decay]
            rule(model, each.mean(0))
    trace, squared_norm = np.array(weights) @ np.array(rows) / sum(weights)
    assert measured.gradient_variance == pytest.approx(trace, rel=2e-4)
    assert measured.gradient_squared_norm == pytest.approx(squared_norm, rel=2e-4)


def test_updates_that_are_not_finite_add_nothing(few):
    """Loss scaling skips the second update, which is not finite, and so do the means."""
    x, y = few[0].astype("float32"), few[1]
    x[45] = np.inf

    def optimizer():
        inner = keras.optimizers.SGD(0.1, momentum=0.9)
        return keras.optimizers.LossScaleOptimizer(inner, initial_scale=16.0)

    train = Pipeline((x, y), 40, shuffle=False)
    model = a_model(optimizer)
    measured, history = fit(model, train, 16, epochs=1)
    reference, rule, rows = a_model(), Momentum(), []
    for index, batch in enumerate(train.dataset()):
        if index != 1:
            each = pieces.gradients(reference, batch, MICRO)
            rows.append(pieces.estimates(each, [16, 16, 8]))
            rule(reference, np.array([16, 16, 8]) @ each / 40)
    assert int(model.optimizer.iterations) == 7
    assert_logs(history, rows, math.exp(-40 / 320))


class Killed(Exception):
    pass


class KillAt(keras.callbacks.Callback):
    def __init__(self, update):
        super().__init__()
        self.update = update

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations >= self.update:
            raise Killed


# The gate: averages_test.py, and checkpoint_test.py restores a callback's variables.
@pytest.mark.release
@pytest.mark.parametrize("micro_batch_size", [16, None])
def test_a_killed_run_resumes(few, tmp_path, micro_batch_size):
    def run(folder, kill=None):
        keras.backend.clear_session(free_memory=False)
        train = Pipeline(few, 40, seed=1)
        model = a_model()
        measured = GradientNoiseScale(train, per_layer=True)
        others = [measured, BatchSizeScheduler(train, lambda epoch, size: (40, 80, 40)[epoch])]
        others += [MicroBatches(train, micro_batch_size)] if micro_batch_size else []
        checkpoint = Checkpoint(folder, train, others, minutes=0)
        first = checkpoint.restore(model)
        callbacks = [*others, checkpoint, *([kill] if kill else [])]
        history = model.fit(
            train, epochs=3, initial_epoch=first, verbose=0, callbacks=callbacks
        ).history
        return model, history, measured

    model, expected, measured = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", KillAt(10))
    other, history, resumed = run(tmp_path / "killed")
    assert_same_weights(model, other)
    for key in KEYS:
        assert history[key] == expected[key][1:]
    assert resumed.layers == measured.layers


@pytest.mark.release  # the gate: pipeline_callback_test.py, test_a_fit_from_a_later_epoch_continues
def test_a_fit_from_a_later_epoch_continues_the_means(few, rows_of_micro_batches):
    train = Pipeline(few, 40, seed=1)
    model, measured = a_model(), GradientNoiseScale(train)
    callbacks = [measured, MicroBatches(train, 16)]
    for epoch in range(2):
        arguments = dict(initial_epoch=epoch, epochs=epoch + 1, callbacks=callbacks)
        history = model.fit(train, verbose=0, **arguments).history
    assert_logs(history, rows_of_micro_batches, math.exp(-40 / 320))


@pytest.mark.release  # the gate compiles by XLA in tests/methods/micro_batches/train_step_test.py
def test_compiled_by_xla(few, rows_of_micro_batches):
    train = Pipeline(few, 40, seed=1)
    _, history = fit(a_model(jit_compile=True), train, 16)
    assert_logs(history, rows_of_micro_batches, math.exp(-1 / 8))


def test_user_errors(few):
    train = Pipeline(few, 40)
    with pytest.raises(UserError, match="probe_examples: expected .* at most 320, received 400"):
        GradientNoiseScale(train, probe_examples=400)
    with pytest.raises(UserError, match="window_epochs: expected a finite number above 0"):
        GradientNoiseScale(train, window_epochs=0)
    with pytest.raises(UserError, match="preconditioned: expected .* such as Adam, received SGD"):
        fit(a_model(), train, preconditioned=True)
    with pytest.raises(UserError, match="gradient_accumulation_steps: expected none .* received 2"):
        fit(a_model(lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)), train)
    with pytest.raises(UserError, match="callbacks: expected one .* GradientNoiseScale and anoth"):
        a_model().fit(
            train, verbose=0, callbacks=[GradientNoiseScale(train), GradientNoiseScale(train)]
        )


@pytest.mark.release
def test_several_workers(tmp_path):
    """Two workers measure, decide and end like two replicas in one process."""
    script = Path(__file__).with_name("gradient_noise_scale_script.py")
    expected = run_workers(script, tmp_path, "mirrored", "2")[0]
    for result in run_workers(script, tmp_path, "multi_worker", "1", num_workers=2):
        assert result.keys() == expected.keys()
        for name, value in result.items():
            assert value.shape == expected[name].shape, name
            np.testing.assert_allclose(value, expected[name], rtol=1e-4, err_msg=name)
