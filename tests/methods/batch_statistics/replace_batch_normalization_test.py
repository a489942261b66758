import inspect

import keras
import numpy as np
import pytest

from lbkeras import models
from lbkeras.errors import UserError
from lbkeras.keras_internals.model import layers as nested_layers
from lbkeras.layers import GhostBatchNormalization, with_ghost_batch_normalization


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def norms(model):
    return [
        layer
        for layer in nested_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def disturb(model):
    """Changes all batch-norm variables from their initial values, each to another value."""
    generator = np.random.default_rng(0)
    for layer in norms(model):
        for variable in layer.variables:
            variable.assign(variable.numpy() + generator.uniform(0, 0.2, variable.shape))


def check_same(model, ghost, x):
    expected = model.predict_on_batch(x)
    np.testing.assert_allclose(ghost.predict_on_batch(x), expected, rtol=1e-5, atol=1e-6)
    assert [v.name for v in ghost.variables] == [v.name for v in model.variables]
    old, new = norms(model), norms(ghost)
    assert old and all(isinstance(layer, GhostBatchNormalization) for layer in new)
    assert [layer.name for layer in new] == [layer.name for layer in old]
    for a, b in zip(old, new, strict=True):
        config = b.get_config()
        assert config == {**config, **a.get_config()}


@pytest.mark.parametrize(
    "application, size",
    [
        pytest.param("MobileNetV2", 32, marks=pytest.mark.release),
        pytest.param("ResNet50", 32, marks=pytest.mark.release),
        pytest.param("InceptionResNetV2", 75, marks=pytest.mark.release),
    ],
)
def test_keras_applications(application, size):
    keras.utils.set_random_seed(0)
    build = getattr(keras.applications, application)
    model = build(weights=None, input_shape=(size, size, 3), classes=10)
    disturb(model)
    ghost = with_ghost_batch_normalization(model, 32)
    check_same(model, ghost, images(2, size, size, 3))
    assert all(layer.ghost_batch_size == 32 and not layer.synchronized for layer in norms(ghost))


def branch():
    inputs = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(2, 3, padding="same")(inputs)
    x = keras.layers.BatchNormalization(momentum=0.8, epsilon=1e-4, beta_regularizer="l2")(x)
    return keras.Model(inputs, x, name="branch")


@pytest.mark.parametrize(
    "build, settings",
    [
        (models.cifar_resnet, dict(depth=8, width=4)),  # pads its shortcuts with keras.ops
        # Its noise layers have state.
        pytest.param(models.pyramidnet, dict(depth=20, widening=12), marks=pytest.mark.release),
        (models.wide_resnet, dict(depth=10, width=1)),
        (models.small_cnn, dict(batch_normalization=True)),
    ],
)
def test_our_models(build, settings):
    model = build(input_shape=(32, 32, 3), num_classes=10, **settings)
    disturb(model)
    x = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    check_same(model, with_ghost_batch_normalization(model, 4), x)


def test_nested_models_and_shared_layers():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 2))
    nested = branch()
    shared = keras.layers.BatchNormalization(scale=False, name="shared")
    head = keras.Sequential(
        [keras.layers.Flatten(), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    )
    x = shared(nested(shared(nested(inputs))))
    x = keras.layers.Lambda(lambda x: 2 * x)(x)
    model = keras.Model(inputs, {"a": head(x), "b": keras.layers.Dropout(0.5)(x)})
    disturb(model)
    ghost = with_ghost_batch_normalization(model, 4, synchronized=True)
    x = images(5, 4, 4, 2)
    for name, expected in model.predict_on_batch(x).items():
        np.testing.assert_allclose(ghost.predict_on_batch(x)[name], expected, rtol=1e-5, atol=1e-6)
    assert len(ghost.variables) == len(model.variables)
    assert len(norms(ghost)) == 3 and all(layer.synchronized for layer in norms(ghost))
    calls = [layer["inbound_nodes"] for layer in ghost.get_config()["layers"]
             if layer["name"] == "shared"]  # fmt: skip
    assert [len(each) for each in calls] == [2]
    inner = norms(ghost.get_layer("branch"))[0]
    assert (inner.momentum, inner.epsilon, inner.ghost_batch_size) == (0.8, 1e-4, 4)
    # Weights are copies: changes to one model do not affect the other.
    before = [v.numpy() for v in model.variables]
    ghost(x, training=True)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_training_normalizes_ghosts():
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(epsilon=0.0)])
    y = with_ghost_batch_normalization(model, 4)(images(8, 3), training=True).numpy()
    for ghost in np.split(y.astype("float64"), 2):
        np.testing.assert_allclose(ghost.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(ghost.var(0), 1, rtol=1e-5)


def test_adapted_normalization_and_frozen_layers():
    normalization = keras.layers.Normalization()
    normalization.adapt(images(50, 3) + 7)
    frozen = keras.layers.BatchNormalization(trainable=False)
    model = keras.Sequential([keras.Input((3,)), normalization, frozen])
    model.add(keras.layers.BatchNormalization(dtype="mixed_bfloat16"))
    disturb(model)
    ghost = with_ghost_batch_normalization(model, 4)
    check_same(model, ghost, images(5, 3) + 7)
    assert [layer.trainable for layer in norms(ghost)] == [False, True]


def test_compiled_model_and_file(tmp_path, digits):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.25, momentum=0.5), loss)
    ghost = with_ghost_batch_normalization(model, 8)
    assert float(ghost.optimizer.learning_rate) == 0.25
    ghost.fit(*(part[:64] for part in digits), batch_size=32, verbose=0)
    ghost.save(tmp_path / "ghost.keras")
    loaded = keras.saving.load_model(tmp_path / "ghost.keras")
    x = digits[0][:5]
    np.testing.assert_array_equal(loaded.predict_on_batch(x), ghost.predict_on_batch(x))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.norm = keras.layers.BatchNormalization()

    def call(self, inputs):
        return self.norm(inputs)


class OwnConstructor(keras.Model):
    def __init__(self, units=3):
        inputs = keras.Input((units,))
        super().__init__(inputs, keras.layers.BatchNormalization()(inputs))


def sequential(*layers):
    return keras.Sequential([keras.Input((4, 3)), *layers])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: 3, "model: expected a functional or sequential keras.Model, .* received a int"),
        (Subclassed, "model: expected a functional or sequential .* received a Subclassed"),
        (OwnConstructor, "model: expected a functional or sequential .* received OwnConstructor"),
        (
            lambda: keras.Sequential([keras.layers.BatchNormalization()], name="net"),
            "model: expected a built model, received 'net'",
        ),
        (
            lambda: sequential(keras.layers.Dense(2)),
            "model: expected one with batch normalization, received 'sequential.*' without",
        ),
        (
            lambda: sequential(GhostBatchNormalization(4)),
            "model: expected one with batch normalization, received 'sequential.*' without",
        ),
        pytest.param(
            lambda: sequential(keras.layers.BatchNormalization(renorm=True, name="norm")),
            "model: .* without renorm, received 'norm'",
            marks=pytest.mark.skipif(
                "renorm" not in inspect.signature(keras.layers.BatchNormalization).parameters,
                reason="in Keras since 3.14",
            ),
        ),
        (
            lambda: sequential(
                keras.layers.TimeDistributed(keras.layers.BatchNormalization(name="norm"), name="t")
            ),
            "model: .* received 'norm' inside 't', a TimeDistributed",
        ),
        (
            lambda: sequential(keras.layers.Flatten(), Subclassed()),
            "model: .* received 'batch_normalization.*' inside 'subclassed.*', a Subclassed",
        ),
    ],
)
def test_models_that_cannot_be_changed(make, message):
    with pytest.raises(UserError, match=message):
        with_ghost_batch_normalization(make(), 4)


@pytest.mark.parametrize("size", [0, -1, 2.0, "8", None])
def test_wrong_ghost_batch_size(size):
    model = sequential(keras.layers.BatchNormalization())
    with pytest.raises(UserError, match="ghost_batch_size: expected a whole number of at least 1"):
        with_ghost_batch_normalization(model, size)
