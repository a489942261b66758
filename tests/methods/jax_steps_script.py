"""Checks of the methods that change the train step, on Keras' JAX backend with two CPU devices.

Run with names of checks; prints a line for each, with its name and "passed" or the traceback.
"""

import contextlib
import io
import json
import sys

import jax
import keras
import numpy as np
import pytest
from jax import numpy as jnp

import lbkeras
from lbkeras import callbacks
from lbkeras.analysis import GradientNoiseAverages, piece_estimates
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.keras_internals.model import build
from lbkeras.methods.micro_batches import jax_memory
from lbkeras.trainers import micro_batch_train_step
from tests import jax_checks

assert keras.backend.backend() == "jax"
layers = keras.layers
DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(80, 3)).astype("float32")
Y = DRAWN.integers(0, 4, 80)
WEIGHTS = DRAWN.uniform(0.2, 2.0, 80).astype("float32")


def with_weights(model):
    """Gives the model weights that do not depend on the backend's random numbers."""
    drawn = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(drawn.normal(0, 0.3, variable.shape))
    return model


def softmax_model(optimizer, *hidden, **arguments):
    model = keras.Sequential([keras.Input((3,)), *hidden, layers.Dense(4)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with_weights(model).compile(optimizer, loss, **arguments)
    return model


def arrays(variables) -> list:
    return [np.array(keras.ops.convert_to_numpy(each)) for each in variables]


def assert_close(ours, expected, tolerance=1e-6):
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def after_updates(make, data, micro_batch_size, updates=2):
    """Returns variables and logs after some updates on one batch."""
    model = make()
    if micro_batch_size is not None:
        build(model, data)
        model.train_step = micro_batch_train_step(model, micro_batch_size)
    for _ in range(updates):
        logs = model.train_on_batch(*data, return_dict=True)
    return arrays([*model.variables, *model.optimizer.variables]), logs


def compare_pieces(make, data, *sizes):
    expected, logs = after_updates(make, data, None)
    assert any(np.abs(each).max() > 1e-3 for each in expected)
    for size in sizes:
        ours, our_logs = after_updates(make, data, size)
        assert_close(ours, expected)
        assert our_logs == pytest.approx(logs, rel=2e-6)


def check_sample_weights_regularizers_and_a_smaller_last_piece(folder):
    def make():
        inputs = keras.Input((3,))
        hidden = layers.Dense(5, "tanh", kernel_regularizer="l1", activity_regularizer="l2")
        model = with_weights(keras.Model(inputs, layers.Dense(4)(hidden(inputs))))
        loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )
        optimizer = keras.optimizers.Adam(0.05, global_clipnorm=0.5)
        model.compile(optimizer, loss, metrics=["accuracy"], weighted_metrics=["accuracy"])
        return model

    compare_pieces(make, (X[:10], Y[:10], WEIGHTS[:10]), 4)


def check_masks_of_which_pieces_have_other_sums(folder):
    words = DRAWN.integers(1, 6, (6, 5))
    words[0, 1:], words[4, 3:] = 0, 0
    targets = DRAWN.integers(0, 4, (6, 5))

    def make():
        inputs = keras.Input((5,))
        embedded = layers.Embedding(6, 3, mask_zero=True)(inputs)
        model = with_weights(keras.Model(inputs, layers.Dense(4)(embedded)))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.5), loss)
        return model

    compare_pieces(make, (words, targets), 2)


def check_several_losses_one_of_a_layer(folder):
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.a, self.b = layers.Dense(4, "tanh"), layers.Dense(2), layers.Dense(1)

        def call(self, x):
            hidden = self.hidden(x)
            self.add_loss(0.3 * keras.ops.mean(hidden**2))
            return {"a": self.a(hidden), "b": self.b(hidden)}

    def make():
        model = Two()
        model(X[:1])
        loss, shares = {"a": "mse", "b": keras.losses.MeanAbsoluteError("sum")}, {"a": 0.3, "b": 2}
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9, use_ema=True)
        with_weights(model).compile(optimizer, loss, loss_weights=shares)
        return model

    compare_pieces(make, (X[:6], {"a": X[:6, :2], "b": X[:6, 2:]}), 2)


def check_half_precision_with_a_scaled_loss(folder):
    def make():
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model = with_weights(keras.Sequential([keras.Input((3,)), layers.Dense(1)]))
        finally:
            keras.config.set_dtype_policy("float32")
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=64)
        model.compile(optimizer, "mse")
        return model

    expected, _ = after_updates(make, (X[:8], X[:8, :1]), None)
    ours, _ = after_updates(make, (X[:8], X[:8, :1]), 4)
    assert_close(ours, expected, tolerance=2e-3)
    assert ours[-1] == expected[-1] and [each.dtype for each in ours] == [
        each.dtype for each in expected
    ]


def check_batch_norm_sees_pieces_and_dropout_draws_for_each(folder):
    norm, dropped = layers.BatchNormalization(momentum=0.6), layers.Dropout(0.5, seed=1)
    model = keras.Sequential([keras.Input((3,)), norm, dropped, layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    seed = arrays(model.non_trainable_variables)[-1]
    build(model, (X[:8], X[:8, :1]))
    model.train_step = micro_batch_train_step(model, 4)
    model.train_on_batch(X[:8], X[:8, :1])
    mean, variance = np.zeros(3), np.ones(3)
    for part in (X[:4], X[4:8]):
        mean = 0.6 * mean + 0.4 * part.mean(0)
        variance = 0.6 * variance + 0.4 * part.var(0)
    assert_close(arrays([norm.moving_mean, norm.moving_variance]), [mean, variance])
    now = arrays(model.non_trainable_variables)[-1]
    assert (now != seed).any()
    one = keras.Sequential([keras.Input((3,)), layers.Dropout(0.5, seed=1)])
    one.compile("sgd", "mse")
    for _ in range(2):
        one.train_on_batch(X[:4], X[:4])
    assert_close([now], arrays(one.non_trainable_variables)[-1:])


def check_a_fit_on_two_devices_and_smaller_batches(folder):
    def fitted(size, sizes=(32, 16)):
        model = softmax_model(keras.optimizers.SGD(0.2, momentum=0.9), metrics=["accuracy"])
        train = Pipeline((X, Y, WEIGHTS), 32)
        scheduler = callbacks.BatchSizeScheduler(train, lambda epoch, present: sizes[epoch])
        history = model.fit(
            train,
            epochs=2,
            verbose=0,
            callbacks=[callbacks.MicroBatches(train, size), scheduler],
        ).history
        assert "train_step" not in vars(model)
        return arrays(model.trainable_variables), history

    expected, history = fitted(None)
    for size, devices in ((16, 1), (12, 1), (4, 2)):
        if devices > 1:
            keras.distribution.set_distribution(keras.distribution.DataParallel())
        try:
            ours, our_history = fitted(size)
        finally:
            keras.distribution.set_distribution(None)
        assert_close(ours, expected)
        for name, values in history.items():
            assert our_history[name] == pytest.approx(values, rel=1e-5)


def gradient(rows, kernel, bias):
    """Returns the gradient of softmax regression, in NumPy, with all weights in one row."""
    logits = X[rows].astype(float) @ kernel + bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = (p - np.eye(4)[Y[rows]]) / len(rows)
    return np.concatenate([(X[rows].T @ error).ravel(), error.sum(0)])


def estimates(pieces, weights):
    each = [gradient(rows, *weights) for rows in pieces]
    sizes = [len(rows) for rows in pieces]
    whole = np.average(each, axis=0, weights=sizes)
    return piece_estimates(sizes, [g @ g for g in each], whole @ whole)


def check_the_noise_scale_of_pieces_and_of_a_probe(folder):
    """Against gradients in NumPy, at constant weights; the rows are numbered to identify them."""
    numbered = Pipeline((np.arange(80), Y), 16)  # in the order of the Pipeline that trains
    for size in (6, None):
        model = softmax_model(keras.optimizers.SGD(0.0), layers.Dropout(0.0))
        weights = arrays(model.trainable_variables)
        train, averages = Pipeline((X, Y), 16), GradientNoiseAverages()
        noise = callbacks.GradientNoiseScale(train)
        others = [] if size is None else [callbacks.MicroBatches(train, size)]
        before = arrays(model.non_trainable_variables)
        history = model.fit(train, verbose=0, callbacks=[noise, *others]).history
        if size is None:
            assert noise.source == "probe"
            assert_close(arrays(model.non_trainable_variables), before, tolerance=1)
            rows = np.concatenate([x for x, _ in numbered.dataset(1).as_numpy_iterator()])
            for pieces in rows.reshape(4, 10, 2):  # 4 batches of 10 pieces of 2
                averages.add(*estimates(pieces, weights), np.exp(-1 / 4))
        else:
            assert noise.source == "training"
            for rows, _ in numbered.dataset(0).as_numpy_iterator():
                pieces = rows[:6], rows[6:12], rows[12:]
                averages.add(*estimates(pieces, weights), np.exp(-16 / 80))
        assert history["gradient_variance"] == [pytest.approx(averages.variance, rel=1e-5)]
        assert history["gradient_squared_norm"] == [pytest.approx(averages.squared_norm, rel=1e-4)]
        assert noise.gradient_noise_scale_error == pytest.approx(averages.error, rel=1e-3)


def check_adams_noise_scale_waits_for_its_moments(folder):
    model, train = softmax_model(keras.optimizers.Adam(0.01)), Pipeline((X, Y), 10)
    noise = callbacks.GradientNoiseScale(train, per_layer=True)
    model.fit(train, verbose=0, callbacks=[noise, callbacks.MicroBatches(train, 5)])
    assert arrays(noise.variables)[0][0].tolist() == [3.0] * 2  # 5 of 8 updates are skipped
    assert noise.gradient_variance > 100  # divided by small numbers


def check_the_batch_grows_and_the_learning_rate_with_it(folder):
    model, train = softmax_model(keras.optimizers.SGD(0.05, momentum=0.5)), Pipeline((X, Y), 4)
    adaptive = callbacks.AdaptiveBatchSize(train, max_batch_size=16, scaling="linear")
    rows = [adaptive, callbacks.TrainingStatistics(train)]
    history = model.fit(train, epochs=4, verbose=0, callbacks=rows).history
    sizes = history["batch_size"]
    assert sizes[0] == 4 and sizes[-1] > 4
    assert history["updates"] == np.cumsum([80 // size for size in sizes]).tolist()
    assert history["learning_rate"] == pytest.approx([0.05 * size / 4 for size in sizes])
    assert len(model.optimizer.variables) == 4  # those added by `fit` are gone
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)


class LossOfEachUpdate(keras.callbacks.Callback):
    """Computes the loss of each update from Keras' running means."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_epoch_begin(self, epoch, logs=None):
        self.losses.append([])
        self._total = 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = float(logs["loss"]) * (batch + 1)
        self.losses[-1].append(total - self._total)
        self._total = total


def check_auto_wu_sees_the_loss_of_each_update(folder):
    plan = lbkeras.planning.auto_wu_plan(epochs=6, batch_size=16, momentum=0.0, num_examples=80)
    model, train = softmax_model(keras.optimizers.SGD()), Pipeline((X, Y), 16)
    auto, each = callbacks.AutoWU(train, plan), LossOfEachUpdate()
    more = [callbacks.TrainingStatistics(train), each, callbacks.MicroBatches(train, 8)]
    history = model.fit(
        train, epochs=3, verbose=0, validation_data=train.in_order(40), callbacks=[auto, *more]
    ).history
    for ours, expected in zip(auto.losses, each.losses, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=2e-5)
    rates = [plan.learning_rate(epoch + 4 / 5) for epoch in range(3)]
    assert history["learning_rate"] == pytest.approx(rates, rel=1e-5)
    assert len(model.metrics_variables) == 2 and "test_step" not in vars(model)


def check_auto_wu_takes_the_state_back(folder):
    from lbkeras.methods.auto_wu.epoch_copies import read_state, write_state

    model = softmax_model(keras.optimizers.SGD(0.1, momentum=0.9), layers.BatchNormalization())
    train = Pipeline((X, Y), 16)
    model.fit(train, verbose=0)
    state, before = read_state(model), arrays([*model.variables, *model.optimizer.variables])
    model.fit(train, verbose=0)
    write_state(model, state)
    after = arrays([*model.variables, *model.optimizer.variables])
    moved = [not np.array_equal(one, other) for one, other in zip(after, before, strict=True)]
    assert sum(moved) == 1  # the number of updates


def check_trust_ratios(folder):
    """LARS: trust_coefficient |w| / |g| of the last update."""
    model = softmax_model(lbkeras.optimizers.LARS(0.1, momentum=0.0, trust_coefficient=0.5))
    kernel, bias = arrays(model.trainable_variables)
    train = Pipeline((X, Y), 80)
    more = [callbacks.TrainingStatistics(train), callbacks.MicroBatches(train, 20)]
    history = model.fit(train, verbose=0, callbacks=more).history
    norm = np.linalg.norm(gradient(np.arange(80), kernel, bias)[:12])
    expected = 0.5 * np.linalg.norm(kernel) / norm
    (name,) = (name for name in history if name.startswith("trust_ratio/"))
    assert history[name] == [pytest.approx(expected, rel=1e-5)]


def long_model():
    """A model with 4 MB of activations per layer for a batch of 64."""
    hidden = layers.RepeatVector(2000), layers.Dense(8, "tanh"), layers.GlobalAveragePooling1D()
    return softmax_model(keras.optimizers.SGD(0.1), *hidden)


def fit_within(free, file=None):
    """Trains with `free` bytes of memory; returns weights, micro-batch size and output."""
    model, train = long_model(), Pipeline((X, Y), 64)
    pieces = callbacks.MicroBatches(train, file=file)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setattr(jax_memory, "free_bytes", lambda: free)
        model.fit(train, epochs=2, verbose=0, callbacks=[pieces])
    return arrays(model.trainable_variables), pieces.micro_batch_size, said.getvalue()


def check_the_piece_is_chosen_from_the_steps_memory(folder):
    expected, size, said = fit_within(10**12)
    assert size is None and not said
    ours, size, said = fit_within(3 * 2**20, folder / "file.json")
    assert size < 64 and json.loads((folder / "file.json").read_text()) == {
        "micro_batch_size": size
    }
    begin = "memory: batch size 64 on 1 device is computed with micro_batch_size"
    assert said == f"{begin} {size}\n"
    assert_close(ours, expected)


def check_memory_of_which_nothing_is_known(folder):
    """A trial on zeros changes nothing; an example that does not fit is an error."""
    expected, *_ = fit_within(10**12)
    tried, size, said = fit_within(None)
    assert size is None and not said
    assert_close(tried, expected, tolerance=0)
    with pytest.raises(UserError, match="^micro_batch_size: even one example per replica"):
        fit_within(1000)


def check_a_trial_that_fails_says_so(folder):
    def much(state, rows):
        return state + jnp.sum(jnp.sort(jnp.tile(rows, 2**22))), rows

    arguments = (jax.ShapeDtypeStruct((), "float32"), jax.ShapeDtypeStruct((2**21,), "float32"))
    compiled = jax.jit(much).lower(*arguments).compile()
    assert jax_memory.bytes_needed(compiled) > 2**43
    assert not jax_memory.fits_by_trial(compiled, arguments)
    small = jax.jit(lambda state, rows: (state, rows)).lower(*arguments).compile()
    assert jax_memory.fits_by_trial(small, arguments)


class RunsOutOfMemory(keras.callbacks.Callback):
    """From the second step on, an allocation really fails after the state was donated."""

    def on_train_batch_begin(self, batch, logs=None):
        def fails(state, iterator):
            jax.jit(lambda state: jax.tree.map(lambda v: v + 0, state), donate_argnums=0)(state)
            return jnp.zeros((2**23, 2**21)), state

        if batch == 1:
            self.model.train_function = fails


def check_memory_that_runs_out_later_ends_in_one_line(folder):
    model, train = softmax_model(keras.optimizers.SGD(0.1)), Pipeline((X, Y), 16)
    pieces = callbacks.MicroBatches(train, file=folder / "file.json")
    with pytest.raises(UserError) as raised:
        model.fit(train, verbose=0, callbacks=[RunsOutOfMemory(), pieces])
    assert str(raised.value) == (
        "out of memory at batch size 16, and on JAX a step cannot be repeated, since it has "
        f"donated the weights: {folder / 'file.json'} keeps micro_batch_size 8; run again from the "
        "last checkpoint"
    )
    assert callbacks.MicroBatches(train, file=folder / "file.json").micro_batch_size == 8


def check_what_is_refused(folder):
    train = Pipeline((X, Y), 16)
    model = softmax_model("sgd")
    made = {
        "Sharpness": lambda: callbacks.Sharpness(train),
        "AdaScale": lambda: callbacks.AdaScale(train, 16, 3),
        "ConcurrentAdversarial": lambda: callbacks.ConcurrentAdversarial(train, 0.1),
        "AdversarialAccuracy": lambda: callbacks.AdversarialAccuracy(train, 0.1),
        "ConsensusDistance": lambda: callbacks.ConsensusDistance(),
    }
    with contextlib.suppress(ModuleNotFoundError):
        import tensorflow  # noqa: F401

        made["StackedNodes"] = lambda: lbkeras.trainers.StackedNodes(model, 2)
    for name, make in made.items():
        with pytest.raises(UserError) as raised:
            make()
        assert str(raised.value) == f"{name}: expected Keras' TensorFlow backend, received jax"


def check_losses_over_pairs_are_refused(folder):
    model, train = softmax_model("sgd"), Pipeline((X, Y), 16)
    model.compile("sgd", keras.losses.Circle())
    with pytest.raises(UserError, match="^loss: expected one that treats each example"):
        model.fit(train, verbose=0, callbacks=[callbacks.MicroBatches(train, 4)])


if __name__ == "__main__":
    jax_checks.run(globals(), sys.argv[1:])
