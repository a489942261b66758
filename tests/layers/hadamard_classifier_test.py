import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from lbkeras.layers import HadamardClassifier


def features(batch, size):
    return np.random.default_rng(0).normal(size=(batch, size)).astype(np.float32)


@pytest.mark.parametrize("size, units", [(64, 10), (100, 3), (5, 70), (16, 15), (16, 16)])
def test_logits(size, units):
    """scale x/|x| H + bias, with SciPy's (Sylvester's) matrix without its first column."""
    x = features(4, size)
    layer = HadamardClassifier(units, scale_initializer="ones", bias_initializer="ones")
    order = 2 ** int(np.ceil(np.log2(max(size, units + 1))))
    matrix = scipy.linalg.hadamard(order)[:size, 1 : units + 1]
    expected = x / np.linalg.norm(x, axis=1, keepdims=True) @ matrix + 1
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_columns_are_orthogonal_and_balanced():
    layer = HadamardClassifier(63, use_bias=False, scale_initializer="ones")
    matrix = np.array(layer(np.eye(64, dtype=np.float32)))
    np.testing.assert_array_equal(matrix.T @ matrix, 64 * np.eye(63))
    np.testing.assert_array_equal(matrix.sum(0), np.zeros(63))


def test_starts_as_the_authors_code():
    keras.utils.set_random_seed(0)
    layer = HadamardClassifier(100)
    layer.build((None, 64))
    assert float(layer.scale.numpy()) == pytest.approx(0.1)
    bias = layer.bias.numpy()
    assert 0.08 < np.abs(bias).max() <= 0.1 and bias.min() < 0 < bias.max()


def test_length_of_the_features_does_not_matter():
    layer, x = HadamardClassifier(10), features(4, 32)
    np.testing.assert_allclose(layer(1000 * x), layer(x), atol=1e-6)


def test_what_is_learned():
    layer = HadamardClassifier(10)
    layer.build((None, 32))
    assert [v.path.split("/")[-1] for v in layer.weights] == ["scale", "bias"]
    layer = HadamardClassifier(10, use_bias=False)
    layer.build((None, 32))
    assert layer.count_params() == 1


def test_zero_features_have_finite_gradients():
    layer, x = HadamardClassifier(10), tf.zeros((2, 32))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    assert np.isfinite(tape.gradient(y, x)).all()
    np.testing.assert_allclose(y, np.tile(layer.bias.numpy(), (2, 1)))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_float32_logits_from_low_precision(policy):
    """1,000 squared overflows float16."""
    layer = HadamardClassifier(10, dtype="float32")
    x = tf.cast(1000 * features(4, 32), keras.DTypePolicy(policy).compute_dtype)
    low = HadamardClassifier(10, bias_initializer="zeros", dtype=policy)(x)
    assert layer(x).dtype == "float32" and low.dtype == x.dtype
    assert np.isfinite(tf.cast(low, "float32")).all()


def test_weight_decay_falls_on_the_scale():
    layer = HadamardClassifier(4, scale_regularizer=keras.regularizers.L2(0.5))
    layer.build((None, 8))
    assert [float(loss) for loss in layer.losses] == [pytest.approx(0.5 * 0.25)]


@pytest.mark.release
def test_learns_digits_as_well_as_a_learned_classifier(digits, tmp_path):
    """The paper's claim for one seed: at most 3 points less. Also saves and loads the model."""
    images, labels = digits
    accuracy = {}
    for fixed in (False, True):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8, 8, 1), dtype="uint8")
        x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 16)(inputs))
        x = keras.layers.Dense(64, activation="relu")(x)
        last = HadamardClassifier(10) if fixed else keras.layers.Dense(10)
        model = keras.Model(inputs, last(x))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"], jit_compile=False
        )
        model.fit(images[:1000], labels[:1000], epochs=8, verbose=0)
        accuracy[fixed] = model.evaluate(images[1000:], labels[1000:], verbose=0)[1]
    assert accuracy[True] > 0.9 and accuracy[True] > accuracy[False] - 0.03
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict_on_batch(images[:9]), model.predict_on_batch(images[:9])
    )


@pytest.mark.parametrize("units", [0, 2.5])
def test_wrong_units(units):
    with pytest.raises(ValueError, match=f"units: expected a positive integer, received {units}"):
        HadamardClassifier(units)
