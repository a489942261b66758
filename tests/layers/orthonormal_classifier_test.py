import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.layers import OrthonormalClassifier


def features(batch, size):
    return np.random.default_rng(0).normal(size=(batch, size)).astype(np.float32)


def matrix(size, units, **options):
    """Returns Q, from the logits of unit vectors."""
    layer = OrthonormalClassifier(units, use_bias=False, scale_initializer="ones", **options)
    return np.array(layer(np.eye(size, dtype=np.float32)))


@pytest.mark.parametrize("size, units", [(64, 10), (16, 16), (5, 70)])
def test_logits(size, units):
    """scale x/|x| Q + bias, with Q from SciPy's QR of the same random numbers."""
    x = features(4, size)
    layer = OrthonormalClassifier(units, bias_initializer="ones", seed=3)
    tall = np.random.RandomState(3).normal(size=(max(size, units), min(size, units)))
    q, r = scipy.linalg.qr(tall, mode="economic")
    q = q @ np.diag(np.sign(np.diag(r)))
    expected = 10 * x / np.linalg.norm(x, axis=1, keepdims=True) @ (q if size >= units else q.T) + 1
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_columns_are_orthonormal_and_rows_with_more_classes():
    tall, wide = matrix(64, 10), matrix(10, 64)
    np.testing.assert_allclose(tall.T @ tall, np.eye(10), atol=1e-6)
    np.testing.assert_allclose(wide @ wide.T, np.eye(10), atol=1e-6)


def test_the_seed_determines_the_matrix():
    np.testing.assert_array_equal(matrix(8, 3), matrix(8, 3, seed=123))
    assert np.abs(matrix(8, 3) - matrix(8, 3, seed=4)).max() > 0.1
    keras.utils.set_random_seed(0)  # the run's seed does not matter
    np.testing.assert_array_equal(matrix(8, 3), matrix(8, 3))


def test_columns_are_uniformly_distributed():
    """Without the signs of R's diagonal all first columns would be in one half of the space."""
    firsts = np.array([matrix(3, 2, seed=seed)[:, 0] for seed in range(300)])
    assert np.abs(firsts.mean(0)).max() < 4 * (1 / 3) ** 0.5 / 300**0.5
    assert (firsts > 0).any(0).all() and (firsts < 0).any(0).all()


def test_starts_as_the_authors_code():
    layer = OrthonormalClassifier(100, scale_regularizer=keras.regularizers.L2(0.5))
    layer.build((None, 64))
    assert [v.path.split("/")[-1] for v in layer.weights] == ["scale", "bias"]
    assert float(layer.scale.numpy()) == 10 and not layer.bias.numpy().any()
    assert [float(loss) for loss in layer.losses] == [50.0]


def test_zero_features_have_finite_gradients():
    layer, x = OrthonormalClassifier(10), tf.zeros((2, 32))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    assert np.isfinite(tape.gradient(y, x)).all() and not y.numpy().any()


def test_a_saved_model_restores_its_matrix(tmp_path):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, OrthonormalClassifier(3, seed=7)(inputs))
    model.save(tmp_path / "model.keras")
    loaded, x = keras.saving.load_model(tmp_path / "model.keras"), features(4, 8)
    np.testing.assert_array_equal(loaded.predict_on_batch(x), model.predict_on_batch(x))
    assert loaded.layers[-1].seed == 7


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(units=0), "units: expected a positive integer, received 0"),
        (dict(units=True), "units: expected a positive integer, received True"),
        (dict(units=3, seed=-1), "seed: expected a whole number of at least 0 and at most"),
        (dict(units=3, seed=2**32), "seed: expected a whole number of at least 0 and at most"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        OrthonormalClassifier(**arguments)


def test_an_unknown_number_of_features_is_refused():
    with pytest.raises(UserError, match="inputs: expected a known number of features"):
        OrthonormalClassifier(3)(keras.Input((None,)))
