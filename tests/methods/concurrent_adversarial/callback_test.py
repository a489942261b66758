"""Concurrent adversarial learning through `fit` agrees with a restatement in plain tensors."""

import contextlib
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras import optimizers
from lbkeras.callbacks import (
    AverageStatistics,
    BatchSizeScheduler,
    Checkpoint,
    ConcurrentAdversarial,
    GradientNoiseScale,
    MicroBatches,
)
from lbkeras.data import Pipeline
from lbkeras.distribution import mixing
from lbkeras.errors import UserError
from lbkeras.layers import GhostBatchNormalization
from lbkeras.methods.concurrent_adversarial.perturbation import perturbed
from lbkeras.methods.concurrent_adversarial.stale_copies import StaleCopies
from lbkeras.trainers import StackedNodes
from tests.methods.concurrent_adversarial import restatement

N, SIZE, EPOCHS = 24, 8, 2
NORM = dict(momentum=restatement.MOVING, epsilon=restatement.TINY)


def examples():
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, 4)).astype("float32"), generator.integers(0, 3, N)


def a_model(norm=keras.layers.BatchNormalization, strategy=None, **compile_arguments):
    keras.utils.set_random_seed(3)
    with strategy.scope() if strategy else contextlib.nullcontext():
        layers = [keras.Input((4,)), keras.layers.Dense(6, use_bias=False)]
        layers += [norm(**NORM)] if norm else []
        layers += [keras.layers.Activation("tanh"), keras.layers.Dense(3)]
        model = keras.Sequential(layers)
        model.compile(
            keras.optimizers.SGD(restatement.RATE, restatement.MOMENTUM),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            **compile_arguments,
        )
    return model


def arrays(variables):
    return [np.asarray(keras.ops.convert_to_numpy(v), "float64") for v in variables]


class Fit:
    """One `fit` from a fixed start."""

    def __init__(self, model, *, micro=None, adversarial=True, callbacks=(), epochs=EPOCHS):
        self.model, self.steps = model, []
        self.start = [w.numpy() for w in model.trainable_variables]
        self.pipeline = Pipeline(examples(), SIZE, seed=5)
        self.callback = ConcurrentAdversarial(self.pipeline, restatement.EPSILON)
        chosen = [self.callback] if adversarial else []
        chosen += [MicroBatches(self.pipeline, micro)] if micro else []
        look = keras.callbacks.LambdaCallback(on_train_batch_end=self._look)
        chosen += [make(self.pipeline) for make in callbacks]
        self.history = model.fit(
            self.pipeline, epochs=epochs, verbose=0, callbacks=[*chosen, look]
        ).history

    def _look(self, batch, logs):
        self.steps.append(arrays(self.model.trainable_variables))

    def batches(self):
        return [(x.numpy(), y.numpy()) for e in range(EPOCHS) for x, y in self.pipeline.dataset(e)]

    def statistics(self):
        return arrays(self.callback.variables[len(self.model.trainable_variables) :])


@functools.cache
def undivided():
    return Fit(a_model())


def assert_alike(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def assert_same_fit(found, expected, tolerance=2e-6):
    assert_alike(found.steps[-1], expected.steps[-1], tolerance)
    assert_alike(arrays(found.model.variables), arrays(expected.model.variables), tolerance)
    assert_alike(found.statistics(), expected.statistics(), tolerance)
    assert found.history.keys() == expected.history.keys()
    for name, values in expected.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=tolerance)


def test_each_step_is_the_restatements_whose_copies_are_one_step_old():
    """Copies from the current weights, or from those two steps before, give other steps."""
    fit = undivided()
    expected = {age: restatement.train(fit.start, fit.batches(), age) for age in (0, 1, 2)}
    steps, moving, losses = expected[1]
    assert len(fit.steps) == len(steps) == 6
    for found, restated in zip(fit.steps, steps, strict=True):
        assert_alike(found, restated, 1e-6)
    for found, restated in ((arrays(fit.model.layers[1].non_trainable_variables), moving[0]),
                            (fit.statistics(), moving[1])):  # fmt: skip
        assert_alike(found, restated, 1e-6)
    assert np.abs(moving[0][1] - moving[1][1]).max() > 1e-2  # the copies' statistics differ
    np.testing.assert_allclose(fit.history["loss"], np.mean(np.reshape(losses, (2, 3)), 1), 1e-6)
    # At any age the first step's copies come from its own weights; the second step's do not.
    for age in (0, 2):
        away = [
            max(np.abs(a - b).max() for a, b in zip(found, other, strict=True))
            for found, other in zip(fit.steps, expected[age][0], strict=True)
        ]
        first = 1 if age == 0 else 2  # θ_-1 = θ_-2 = θ_0
        assert max(away[:first]) < 1e-6 and min(away[first:]) > 1e-3


def test_the_saved_model_is_plain_keras_with_the_clean_statistics(tmp_path):
    fit = undivided()
    assert not {"train_step", "lbkeras.passes"} & set(vars(fit.model))  # nothing is left behind
    fit.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x, _ = examples()
    clean = fit.model.predict(x, verbose=0)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), clean)
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    _, moving, _ = restatement.train(fit.start, fit.batches(), 1)
    assert_alike(arrays(loaded.layers[1].non_trainable_variables), moving[0], 1e-6)
    with fit.callback.adversarial_statistics():
        assert np.abs(fit.model(x).numpy() - clean).max() > 1e-2
    np.testing.assert_array_equal(fit.model.predict(x, verbose=0), clean)


@pytest.mark.release  # the gate runs a `fit` that ends, with the saved model
def test_an_interrupted_fit_leaves_nothing_behind():
    def breaks_off(batch, logs):
        raise KeyboardInterrupt

    model = a_model()
    stop = keras.callbacks.LambdaCallback(on_train_batch_end=breaks_off)
    with pytest.raises(KeyboardInterrupt):
        Fit(model, callbacks=[lambda train: stop])
    plain = a_model()
    for variable, other in zip(plain.variables, model.variables, strict=True):
        variable.assign(other)
    plain.optimizer.build(plain.trainable_variables)
    for variable, other in zip(plain.optimizer.variables, model.optimizer.variables, strict=True):
        variable.assign(other)
    again, expected = Fit(model, adversarial=False), Fit(plain, adversarial=False)
    assert_alike(arrays(again.model.variables), arrays(expected.model.variables), 0)


@pytest.mark.release  # the gate runs the first step of the restatement
def test_a_second_fit_starts_over():
    """Its first copies come from its own first weights; its steps are those of a new callback."""
    model = a_model()
    first = Fit(model, epochs=1)
    weights = model.get_weights()
    again = a_model()
    again.set_weights(weights)
    for each in (model, again):
        each.compile(keras.optimizers.SGD(0.1), each.loss)
    pipeline = first.pipeline
    model.fit(pipeline, verbose=0, callbacks=[first.callback])
    again.fit(pipeline, verbose=0, callbacks=[ConcurrentAdversarial(pipeline, 0.3)])
    assert_alike(arrays(model.variables), arrays(again.variables), 0)


def test_micro_batches():
    """Two micro-batches of 4 equal a batch with ghosts of 4, for the copies too."""
    ghosts = functools.partial(GhostBatchNormalization, ghost_batch_size=4)
    assert_same_fit(Fit(a_model(), micro=4), Fit(a_model(ghosts)))


@pytest.mark.release  # the gate runs those with batch norm
def test_micro_batches_without_batch_norm():
    assert_same_fit(Fit(a_model(None), micro=5), Fit(a_model(None)))


@pytest.mark.slow
def test_replicas_equal_one_device(mirrored):
    synchronized = functools.partial(keras.layers.BatchNormalization, synchronized=True)
    assert_same_fit(Fit(a_model(synchronized, mirrored)), undivided())


@pytest.mark.release  # the gate runs synchronized replicas with undivided batches
def test_replicas_with_their_own_statistics_and_with_micro_batches(mirrored):
    own = Fit(a_model(strategy=mirrored), callbacks=[lambda train: AverageStatistics()])
    ghosts = functools.partial(GhostBatchNormalization, ghost_batch_size=4)
    ghosts = Fit(a_model(functools.partial(ghosts, moving_statistics="mean")))
    assert_alike(own.steps[-1], ghosts.steps[-1], 2e-6)
    assert_alike(own.statistics(), ghosts.statistics(), 2e-6)
    assert_same_fit(Fit(a_model(None, mirrored), micro=2), Fit(a_model(None)))


@pytest.mark.release  # the gate: checkpoint_test.py; the copies' state is tested by the restatement
@pytest.mark.parametrize("inside_epochs", [False, pytest.param(True, marks=pytest.mark.release)])
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path, inside_epochs):
    """Resumes after an epoch, or inside one; compares the model and what the callback keeps."""

    def run(folder, minutes, epochs):
        model = a_model()
        pipeline = Pipeline(examples(), SIZE, seed=5)
        callback = ConcurrentAdversarial(pipeline, restatement.EPSILON)
        others = [BatchSizeScheduler(pipeline, lambda epoch, size: SIZE), callback]
        checkpoint = Checkpoint(folder, pipeline, others, minutes)
        chosen, begin = [*others, checkpoint], checkpoint.restore(model)
        if inside_epochs and not begin and folder != straight:
            stop = keras.callbacks.LambdaCallback(on_train_batch_end=_stop_at(5, model))
            with contextlib.suppress(KeyboardInterrupt):
                model.fit(pipeline, epochs=epochs, verbose=0, callbacks=[*chosen, stop])
        else:
            model.fit(pipeline, epochs=epochs, initial_epoch=begin, verbose=0, callbacks=chosen)
        return arrays([*model.variables, *model.optimizer.variables, *callback.variables])

    straight = tmp_path / "straight"
    expected = run(straight, 10, 3)
    run(tmp_path / "resumed", 0 if inside_epochs else 10, 3 if inside_epochs else 1)
    assert_alike(run(tmp_path / "resumed", 10, 3), expected, 0)


def _stop_at(update, model):
    def stop(batch, logs):
        if int(model.optimizer.iterations) == update:
            raise KeyboardInterrupt

    return stop


def test_uint8_images_and_inputs_without_a_gradient():
    """uint8 is moved by fractions of a pixel, like the same numbers as floats; other integers stay.

    This also holds if the model contains another model that gets the images.
    """
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (16, 3, 3, 1)).astype("uint8")
    words, y = generator.integers(0, 5, (16, 2)), generator.integers(0, 2, 16)
    ends = []
    for dtype in ("uint8", "float32"):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((3, 3, 1), dtype=dtype), keras.Input((2,), dtype="int64")
        pixels = keras.Input((3, 3, 1), dtype=dtype)
        inner = keras.Model(pixels, keras.layers.Rescaling(1 / 64)(pixels))
        features = keras.layers.Flatten()(inner(inputs[0]))
        embedded = keras.layers.Flatten()(keras.layers.Embedding(5, 2)(inputs[1]))
        merged = keras.layers.Concatenate()([features, embedded])
        model = keras.Model(inputs, keras.layers.Dense(2)(merged))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss)
        train = Pipeline(((images.astype(dtype), words), y), 8, seed=1)
        model.fit(train, epochs=2, verbose=0, callbacks=[ConcurrentAdversarial(train, 0.4)])
        ends.append(arrays(model.variables))
        assert [each.dtype for each in (inputs[0], pixels)] == [dtype, dtype]
    assert_alike(*ends, 0)


@pytest.mark.release  # the gate runs its refusal
def test_gradient_noise_of_both_losses():
    fit = Fit(a_model(None), micro=4, callbacks=[GradientNoiseScale])
    assert fit.history["gradient_variance"][-1] > 0
    assert_alike(fit.steps[-1], Fit(a_model(None), micro=4).steps[-1], 0)


def test_gradient_noise_needs_pieces():
    model = a_model(None)
    with pytest.raises(UserError) as error:
        Fit(model, callbacks=[GradientNoiseScale])
    assert str(error.value) == (
        "callbacks: expected MicroBatches with a micro_batch_size or several replicas with "
        "ConcurrentAdversarial and a callback that measures gradients, as a probe makes no "
        "adversarial copies, received undivided batches"
    )
    assert int(model.optimizer.iterations) == 0


def refused(model, *callbacks, source=None, epsilon=0.1):
    train = Pipeline(source or examples(), SIZE)
    with pytest.raises(UserError) as error:
        chosen = [make(train) for make in callbacks]
        model.fit(train, verbose=0, callbacks=[ConcurrentAdversarial(train, epsilon), *chosen])
    assert int(model.optimizer.iterations) == 0
    return str(error.value)


def test_whatever_cannot_work_is_refused_before_the_first_update(tmp_path):
    words = keras.Sequential(
        [keras.Input((4,), dtype="int32"), keras.layers.Embedding(9, 3),
         keras.layers.Flatten(), keras.layers.Dense(3)]
    )  # fmt: skip
    words.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    source = np.zeros((N, 4), "int32"), examples()[1]
    assert refused(words, source=source) == (
        "x: expected inputs for which the loss has a gradient (floating-point numbers or uint8 "
        "images), to make adversarial copies of them, received int32"
    )
    nodes = StackedNodes(a_model(None), 2)
    nodes.compile(optimizers.DmSGD(0.1, mixing.complete(2)), "mse")
    assert refused(nodes) == (
        "ConcurrentAdversarial: expected a model with Keras' own train step, received "
        "StackedNodes, which defines train_step()"
    )
    model = a_model()
    assert "expected lbkeras.callbacks.Checkpoint, which restores" in refused(
        model, lambda train: keras.callbacks.BackupAndRestore(tmp_path)
    )
    assert refused(model, lambda train: ConcurrentAdversarial(train, 0.2)) == (
        "callbacks: expected one ConcurrentAdversarial, received several"
    )
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), model.loss)
    assert refused(model).startswith("gradient_accumulation_steps: expected none")


@pytest.mark.release  # the gate runs one step per call in a graph, in the restatement above
@pytest.mark.parametrize(
    "arguments", [dict(steps_per_execution=2), dict(jit_compile=True), dict(run_eagerly=True)]
)
def test_other_ways_to_run_steps(arguments):
    fit = Fit(a_model(**arguments))
    assert_alike(arrays(fit.model.variables), arrays(undivided().model.variables), 1e-5)


@pytest.mark.release  # the gate runs the restatement in float32
def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        fit = Fit(a_model())
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(np.isfinite(w).all() for w in fit.steps[-1])
    assert tf.as_dtype(fit.callback.variables[0].dtype) == tf.float32
    assert_alike(fit.steps[-1], undivided().steps[-1], 0.2)


def test_an_input_whose_gradient_is_nan_stays():
    """If float16 overflows, the loss scale falls, but the statistics would keep the NaN."""

    x = tf.constant([[3.0, 3.0, 3.0]])
    moved = perturbed(x, 0.5, lambda x: tf.reduce_sum(x * [np.nan, 1.0, -np.inf]))
    np.testing.assert_array_equal(moved, [[3.0, 3.5, 2.5]])


def test_statistics_that_a_second_fit_trains_get_copies():
    norm = keras.layers.BatchNormalization(center=False, scale=False)  # no weights of its own
    norm.trainable = False
    model = a_model(lambda **settings: norm)
    copies = StaleCopies(model, 1.0)
    norm.trainable = True
    assert not copies.fits(model)
    assert StaleCopies(model, 1.0).fits(model)
