"""A batch in micro-batches against Keras' own step on the undivided one: through `fit`."""

import keras
import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler, MicroBatches
from lbkeras.data import Pipeline
from lbkeras.errors import UserError

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="micro-batches are TensorFlow's"
)
EXAMPLES = 20


class AddsLoss(keras.layers.Layer):
    """Adds a loss that is a mean over the batch."""

    supports_masking = True

    def call(self, x):
        self.add_loss(keras.ops.mean(keras.ops.square(x)))
        return x


def dense(**first):
    return [
        keras.Input((6,)),
        keras.layers.Dense(8, activation="tanh", **first),
        keras.layers.Dense(3),
    ]


def plain():
    return keras.Sequential(dense())


def weight_regularizer():
    return keras.Sequential(dense(kernel_regularizer=keras.regularizers.L2(0.05)))


def activity_regularizer():
    return keras.Sequential(dense(activity_regularizer=keras.regularizers.L2(0.05)))


def activity_of_a_layer():
    layers = dense()
    return keras.Sequential([*layers[:2], keras.layers.ActivityRegularization(0.01), layers[2]])


def added_loss():
    layers = dense()
    return keras.Sequential([*layers[:2], AddsLoss(), layers[2]])


def everything():
    layers = dense(
        activity_regularizer=keras.regularizers.L1(0.02),
        kernel_regularizer=keras.regularizers.L2(0.01),
    )
    return keras.Sequential([*layers[:2], AddsLoss(), layers[2]])


def two_outputs():
    x = keras.Input((6,))
    hidden = keras.layers.Dense(8, activation="tanh", activity_regularizer="l2")(x)
    return keras.Model(
        x, {"a": keras.layers.Dense(3, name="a")(hidden), "b": keras.layers.Dense(1)(hidden)}
    )


def masked():
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(7, 4, mask_zero=True),
            keras.layers.Dense(4, activation="tanh", activity_regularizer="l2"),
            AddsLoss(),
            keras.layers.Dense(3),
        ]
    )


def crossentropy(**arguments):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **arguments)


def vectors():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(EXAMPLES, 6)).astype("float32")
    return (
        x,
        generator.integers(0, 3, EXAMPLES),
        generator.uniform(0.1, 2, EXAMPLES).astype("float32"),
    )


def sequences():
    generator = np.random.default_rng(0)
    x = generator.integers(0, 7, (EXAMPLES, 5)) * (generator.uniform(size=(EXAMPLES, 1)) < 0.8)
    weights = generator.uniform(0.5, 2, (EXAMPLES, 5)).astype("float32")
    return x.astype("int32"), generator.integers(0, 3, (EXAMPLES, 5)), weights


def two_targets():
    x, y, weights = vectors()
    return x, {"a": y, "b": x[:, :1]}, {"a": weights, "b": weights[::-1]}


CASES = {
    "plain": (plain, crossentropy, lambda: vectors()[:2]),
    "sample weights": (plain, crossentropy, vectors),
    "sum": (plain, lambda: crossentropy(reduction="sum"), vectors),
    "mean with sample weight": (
        plain,
        lambda: crossentropy(reduction="mean_with_sample_weight"),
        vectors,
    ),
    "weight regularizer": (weight_regularizer, crossentropy, vectors),
    "activity regularizer": (activity_regularizer, crossentropy, vectors),
    "ActivityRegularization": (activity_of_a_layer, crossentropy, vectors),
    "add_loss": (added_loss, crossentropy, vectors),
    "all of these": (everything, crossentropy, vectors),
    "masks": (masked, crossentropy, lambda: sequences()[:2]),
    "masks and weights": (masked, crossentropy, sequences),
    "two outputs": (
        two_outputs,
        lambda: {"a": crossentropy(), "b": keras.losses.MeanSquaredError(reduction="sum")},
        two_targets,
    ),
}


def trained(make, loss, data, micro_batch_size, batch_sizes, **compile_arguments):
    """Weights, slots and history of one `fit`; without a micro-batch size by Keras' own step."""
    keras.utils.set_random_seed(1)
    model = make()
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        loss(),
        weighted_metrics=None if isinstance(loss(), dict) else ["accuracy"],
        **compile_arguments,
    )
    train = Pipeline(data(), batch_sizes[0])
    callbacks = [BatchSizeScheduler(train, lambda epoch, size: batch_sizes[epoch])]
    if micro_batch_size:
        callbacks.append(MicroBatches(train, micro_batch_size))
    epochs = len(batch_sizes)
    history = model.fit(train, epochs=epochs, verbose=0, callbacks=callbacks).history
    assert int(model.optimizer.iterations) == sum(EXAMPLES // size for size in batch_sizes)
    return [np.asarray(v) for v in [*model.variables, *model.optimizer.variables]], history


def assert_equal(ours, expected):
    for a, b in zip(ours[0], expected[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    assert ours[1].keys() == expected[1].keys()
    for name, values in expected[1].items():
        np.testing.assert_allclose(ours[1][name], values, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_micro_batches(case):
    """Two updates of 10 examples, in pieces of 4, 4 and 2."""
    ours, expected = (trained(*CASES[case], size, [10], run_eagerly=True) for size in (4, None))
    assert_equal(ours, expected)


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_micro_batches_of_a_growing_batch(steps_per_execution):
    expected = trained(*CASES["all of these"], None, [4, 10])
    options = dict(steps_per_execution=steps_per_execution)
    assert_equal(trained(*CASES["all of these"], 4, [4, 10], **options), expected)


def test_an_error_inside_a_loss_reaches_the_user():
    def mean(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_pred))

    with pytest.raises(UserError, match="^loss: expected one value per example"):
        trained(plain, lambda: mean, vectors, 4, [10])
