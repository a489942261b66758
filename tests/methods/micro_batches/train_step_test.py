"""Compares a batch in micro-batches with the undivided batch in Keras' own train step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.callbacks import MicroBatches
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.keras_internals.model import train_function
from lbkeras.trainers import micro_batch_train_step

BATCH = 10
TOLERANCE = 2e-6


def mlp(**compile_arguments):
    regularizer = keras.regularizers.L2(0.01)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="tanh", kernel_regularizer=regularizer),
            keras.layers.Dense(5, activity_regularizer=keras.regularizers.L2(0.01)),
            AddsLoss(),
            keras.layers.Dense(3),
        ]
    )
    return compiled(model, **compile_arguments)


def compiled(model, **compile_arguments):
    arguments = dict(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        weighted_metrics=[
            "accuracy",
            keras.metrics.SparseCategoricalCrossentropy(from_logits=True),
        ],
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), **(arguments | compile_arguments))
    return model


class AddsLoss(keras.layers.Layer):
    """Adds a loss that is a mean over the batch."""

    supports_masking = True

    def call(self, x):
        self.add_loss(keras.ops.mean(keras.ops.square(x)))
        return x


class Subclassed(keras.Model):
    """A model that is built when it sees data, with a gradient of None for one weight."""

    def build(self, shape):
        self.unused = self.add_weight((2,))
        self.hidden = keras.layers.Dense(8, activation="relu")
        self.last = keras.layers.Dense(3)
        self.hidden.build(shape)
        self.last.build((None, 8))

    def call(self, x):
        return self.last(self.hidden(x))


def examples(count=3 * BATCH, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 6)).astype("float32")
    y = generator.integers(0, 3, count)
    return x, y, generator.uniform(0.1, 2, count).astype("float32")


def batches(data, batch_size=BATCH):
    return tf.data.Dataset.from_tensor_slices(data).batch(batch_size, drop_remainder=True)


def trained(make, data, micro_batch_size="of Keras", epochs=2, seed=3):
    """Returns weights, slots, statistics and metrics after training from fixed initial weights."""
    keras.utils.set_random_seed(seed)
    model = make()
    if micro_batch_size != "of Keras":
        step = micro_batch_train_step(model, micro_batch_size)
        model.train_function = train_function(model, step)
    history = model.fit(batches(data), epochs=epochs, verbose=0, shuffle=False).history
    variables = [*model.variables, *model.optimizer.variables]
    values = [np.asarray(keras.ops.convert_to_numpy(v), "float64") for v in variables]
    return values, history


def assert_equal(ours, expected, tolerance=TOLERANCE):
    for a, b in zip(ours[0], expected[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert ours[1].keys() == expected[1].keys()
    for name in expected[1]:
        np.testing.assert_allclose(ours[1][name], expected[1][name], rtol=5 * tolerance)


@pytest.fixture(scope="module")
def undivided():
    return trained(mlp, examples())


@pytest.mark.parametrize("micro_batch_size", [None, 1, 4, 10])
def test_equals_the_undivided_batch(micro_batch_size, undivided):
    assert_equal(trained(mlp, examples(), micro_batch_size), undivided)


@pytest.mark.parametrize(
    "reduction",
    [
        "sum_over_batch_size",
        pytest.param("mean", marks=pytest.mark.release),
        pytest.param("sum", marks=pytest.mark.release),
        pytest.param("mean_with_sample_weight", marks=pytest.mark.slow),
        pytest.param(None, marks=pytest.mark.slow),
    ],
)
def test_every_reduction_of_a_loss(reduction):
    def make():
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        return compiled(model, loss=loss)

    assert_equal(trained(make, examples(), 4), trained(make, examples()))


@pytest.mark.slow
def test_several_outputs():
    def make():
        inputs = keras.Input((6,))
        hidden = keras.layers.Dense(8, activation="tanh")(inputs)
        outputs = {
            "a": keras.layers.Dense(3, name="a")(hidden),
            "b": keras.layers.Dense(1, name="b")(hidden),
        }
        return compiled(
            keras.Model(inputs, outputs),
            loss={
                "a": keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True, reduction="mean_with_sample_weight"
                ),
                "b": keras.losses.MeanSquaredError(reduction="sum"),
            },
            loss_weights={"a": 1.0, "b": 0.01},
            metrics={"a": ["accuracy"], "b": ["mae"]},
            weighted_metrics=None,
        )

    x, y, weights = examples()
    data = (x, {"a": y, "b": x[:, :1]}, {"a": weights, "b": weights[::-1]})
    assert_equal(trained(make, data, 4), trained(make, data))


@pytest.mark.parametrize(
    "reduction",
    ["sum_over_batch_size", pytest.param("mean_with_sample_weight", marks=pytest.mark.release)],
)
@pytest.mark.parametrize("weighted", [pytest.param(False, marks=pytest.mark.release), True])
def test_masks_and_sparse_gradients(reduction, weighted):
    def make():
        model = keras.Sequential(
            [
                keras.Input((5,), dtype="int32"),
                keras.layers.Embedding(7, 4, mask_zero=True),
                keras.layers.Dense(4, activation="tanh"),
                AddsLoss(),
                keras.layers.Dense(3, kernel_regularizer="l2"),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
        return compiled(model, loss=loss)

    generator = np.random.default_rng(0)
    x = generator.integers(0, 7, (30, 5)) * (generator.uniform(size=(30, 1)) < 0.8)
    x[:, 0] = np.where(np.arange(30) < 4, 0, x[:, 0])
    data = (x.astype("int32"), generator.integers(0, 3, (30, 5)))
    if weighted:
        data = (*data, generator.uniform(0.5, 2, (30, 5)).astype("float32"))
    assert_equal(trained(make, data, 4), trained(make, data))


def test_a_class_that_the_loss_ignores():
    def make():
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        return compiled(model, loss=loss, metrics=None, weighted_metrics=None)

    x, y, _ = examples()
    assert_equal(trained(make, (x, y), 4), trained(make, (x, y)))


@pytest.mark.release  # the gate: test_masks_and_sparse_gradients
def test_sparse_gradients_equal_those_of_keras():
    def make():
        layers = [keras.Input((5,), dtype="int32"), keras.layers.Embedding(7, 4)]
        model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(3)])
        return compiled(model)

    x = np.random.default_rng(0).integers(0, 7, (30, 5)).astype("int32")
    data = (x, examples()[1])
    expected = trained(make, data)
    for size in (None, 4):
        assert_equal(trained(make, data, size), expected)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(dict(run_eagerly=True), id="run_eagerly"),
        pytest.param(dict(jit_compile=True), id="jit_compile", marks=pytest.mark.slow),
        pytest.param(
            dict(steps_per_execution=2), id="steps_per_execution", marks=pytest.mark.release
        ),
    ],
)
def test_ways_to_run(arguments):
    def make():
        return mlp(**arguments)

    assert_equal(trained(make, examples(), 4), trained(make, examples()))


@pytest.mark.release  # the gate: trainer_patches_test.py
def test_a_subclassed_model_that_is_not_built():
    def make():
        return compiled(Subclassed())

    with pytest.warns(UserWarning, match="Gradients do not exist"):
        assert_equal(trained(make, examples(), 4), trained(make, examples()))


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param("mixed_bfloat16", marks=pytest.mark.release),
        "mixed_float16",
        pytest.param("bfloat16", marks=pytest.mark.slow),
    ],
)
def test_half_precision(policy):
    """Keras scales the loss for float16; gradients of bfloat16 weights are summed in float32."""

    def make():
        layers = [keras.Input((6,)), keras.layers.Dense(8, dtype=policy, activation="tanh")]
        model = keras.Sequential([*layers, keras.layers.Dense(3, dtype=policy)])
        model.dtype_policy = policy
        return compiled(model)

    ours, expected = trained(make, examples(), 4), trained(make, examples())
    assert_equal(ours, expected, 2e-2 if policy != "mixed_float16" else 2e-3)
    scaled = [keras.optimizers.LossScaleOptimizer, keras.optimizers.SGD]
    assert type(make().optimizer) is scaled[policy != "mixed_float16"]


def test_batch_normalization_uses_the_statistics_of_each_micro_batch():
    """Outputs are normalized in each micro-batch, which also updates the moving statistics."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.BatchNormalization(momentum=0.5)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = examples(BATCH)[0].astype("float64")
    logs = micro_batch_train_step(model, 4)((x.astype("float32"), np.zeros_like(x, "float32")))
    pieces = [x[:4], x[4:8], x[8:]]
    mean = np.zeros(6)
    for piece in pieces:
        mean = 0.5 * mean + 0.5 * piece.mean(0)
    np.testing.assert_allclose(model.layers[0].moving_mean.numpy(), mean, rtol=1e-5)
    normalized = [(p - p.mean(0)) / np.sqrt(p.var(0) + 1e-3) for p in pieces]
    loss = np.mean(np.concatenate(normalized) ** 2)
    np.testing.assert_allclose(float(logs["loss"]), loss, rtol=1e-5)
    gradient = np.mean(2 * np.concatenate(normalized) ** 2, 0) / 6
    np.testing.assert_allclose(model.layers[0].gamma.numpy(), 1 - 0.1 * gradient, rtol=1e-5)


def test_dropout_draws_for_each_micro_batch_and_continues():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dropout(0.5, seed=1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    step = micro_batch_train_step(model, 4)
    x = np.ones((BATCH, 6), "float32")
    with pytest.warns(UserWarning, match="trainable"):
        losses = {float(step((x, 0 * x))["loss"]) for _ in range(3)}
    assert len(losses) == 3
    assert model.layers[0].seed_generator.state.numpy().tolist() == [1, 9]


def test_a_random_generator_outside_the_model_continues():
    class Unseeded(keras.layers.Layer):
        def call(self, x):
            return keras.random.normal(keras.ops.shape(x))

    model = keras.Sequential([keras.Input((6,)), Unseeded(), keras.layers.Dense(3)])
    compiled(model).optimizer.learning_rate = 0.0
    step = tf.function(micro_batch_train_step(model, 4), autograph=False)
    losses = []
    for _ in range(3):
        losses.append(float(step(tuple(map(tf.constant, examples(BATCH)[:2])))["loss"]))
        model.reset_metrics()
    assert len(set(losses)) == 3


def test_user_errors():
    x, y, weights = examples(BATCH)

    class OwnTrainStep(keras.Sequential):
        def train_step(self, data):
            return super().train_step(data)

    class OwnLoss(keras.Sequential):
        def compute_loss(self, *arguments, **keywords):
            return super().compute_loss(*arguments, **keywords)

    for model, name in ((OwnTrainStep(), "train_step"), (OwnLoss(), "compute_loss")):
        with pytest.raises(UserError, match=f"received {type(model).__name__}.*{name}"):
            micro_batch_train_step(model, 4)
    for size in (0, -1, 2.0, True, "4"):
        with pytest.raises(UserError, match="micro_batch_size: expected .*, received"):
            micro_batch_train_step(mlp(), size)

    def mean(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_pred))

    class OwnCall(keras.losses.Loss):
        def __call__(self, y_true, y_pred, sample_weight=None):
            return mean(y_true, y_pred)

    for loss in (mean, OwnCall()):
        model = mlp(loss=loss, metrics=None, weighted_metrics=None)
        micro_batch_train_step(model, None)((x, y))
        with pytest.raises(UserError, match="loss: expected .* for micro-batches, received"):
            micro_batch_train_step(model, 4)((x, y))

    class PerExample(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.sum(x, axis=-1))
            return x

    model = compiled(keras.Sequential([keras.Input((6,)), PerExample(), keras.layers.Dense(3)]))
    with pytest.raises(UserError, match="add_loss: expected scalars"):
        micro_batch_train_step(model, 4)((x, y))

    step = tf.function(
        micro_batch_train_step(mlp(), 4),
        autograph=False,
        input_signature=[(tf.TensorSpec((None, 6)), tf.TensorSpec((None,), tf.int64))],
    )
    with pytest.raises(UserError, match="batches of one known size"):
        step.get_concrete_function()


def test_strings_whose_number_is_unknown_in_the_graph():
    """A last micro-batch of one example is not mistaken for one value for all examples."""
    texts = np.array(["a b", "b", "c", "a b c", "a", "b c", "b a", "c a", "c"])
    vectorize = keras.layers.TextVectorization(vocabulary=["a", "b", "c"], output_sequence_length=4)

    def weights(size):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((), dtype="string")
        x = keras.layers.Embedding(8, 4, mask_zero=True)(vectorize(inputs))
        x = keras.layers.GlobalAveragePooling1D()(x)
        model = keras.Model(inputs, keras.layers.Dense(1)(x))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        y = tf.constant(np.arange(9)[:, None] % 2, "float32")
        micro_batch_train_step(model, size)((tf.constant(texts), y))
        return model.layers[-1].get_weights()

    for ours, expected in zip(weights(4), weights(None), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("size", [pytest.param(None, marks=pytest.mark.release), 2])
def test_a_loss_without_reduction_is_logged_as_on_one_device(mirrored, size):
    x, y = np.random.default_rng(0).normal(size=(2, 16, 3)).astype("float32")

    def history(strategy, size=None):
        with strategy.scope():
            keras.utils.set_random_seed(1)
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
            model.compile(keras.optimizers.SGD(0.1), keras.losses.MeanSquaredError(reduction=None))
        pipeline = Pipeline((x, y), 8)
        callbacks = [MicroBatches(pipeline, size)] if size else []
        fitted = model.fit(
            pipeline, epochs=2, verbose=0, callbacks=callbacks, validation_data=(x, y)
        )
        return [*fitted.history["loss"], *fitted.history["val_loss"]]

    expected = history(tf.distribute.get_strategy())
    np.testing.assert_allclose(history(mirrored, size), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "optimizer",
    [lambda: keras.optimizers.Adam(0.1), lambda: keras.optimizers.SGD(0.1, clipnorm=0.01)],
    ids=["Adam", "clipnorm"],
)
def test_repeated_rows_of_an_embedding_are_summed(optimizer):
    """The same as a product with one-hot vectors, unlike Keras' own sparse gradients."""
    numbers, y = np.array([[1, 1], [1, 2], [0, 1], [2, 2]]), np.ones((4, 1), "float32")
    weights = []
    for layers, x in (
        ([keras.layers.Embedding(3, 2)], numbers),
        ([keras.layers.Dense(2, use_bias=False)], np.eye(3, dtype="float32")[numbers]),
    ):
        layers = [*layers, keras.layers.Flatten(), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input(x.shape[1:]), *layers])
        model.set_weights(weights[0] if weights else model.get_weights())
        weights += [model.get_weights()] * (not weights)
        model.compile(optimizer(), "mse")
        for _ in range(2):
            micro_batch_train_step(model, 3)((x, y))
        weights.append(model.get_weights())
    for ours, expected in zip(*weights[1:], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
