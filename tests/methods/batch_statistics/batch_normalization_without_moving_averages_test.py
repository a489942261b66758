import keras
import numpy as np
import pytest

from lbkeras.errors import UserError
from lbkeras.layers import BatchNormalizationWithoutMovingAverages


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, shape).astype("float32")


def moving(layer):
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def test_inference_uses_the_last_batch():
    first, last, other = data(8, 4, 3), data(8, 4, 3, seed=1), data(5, 4, 3, seed=2)
    layer = BatchNormalizationWithoutMovingAverages(epsilon=1e-3)
    layer(first, training=True)
    layer(last, training=True)
    mean, variance = last.mean((0, 1), dtype="float64"), last.var((0, 1), dtype="float64")
    np.testing.assert_allclose(moving(layer), [mean, variance], rtol=1e-5)
    expected = (other - mean) / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(layer(other), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(moving(layer), [mean, variance], rtol=1e-5)


def test_training_is_batch_normalization():
    x, mask = data(8, 4, 3), np.random.default_rng(1).random((8, 4)) < 0.6
    layer, plain = BatchNormalizationWithoutMovingAverages(), keras.layers.BatchNormalization()
    for arguments in ({}, {"mask": mask}):
        np.testing.assert_array_equal(
            layer(x, training=True, **arguments), plain(x, training=True, **arguments)
        )
    np.testing.assert_allclose(layer.moving_mean.numpy(), x[mask].mean(0), rtol=1e-5)


@pytest.mark.parametrize("synchronized", [False, True])
def test_replicas_average(mirrored, synchronized):
    import tensorflow as tf

    x = data(12, 4, 3)
    with mirrored.scope():
        layer = BatchNormalizationWithoutMovingAverages(synchronized=synchronized)
        layer.build(x.shape)
    shares = mirrored.experimental_distribute_values_from_function(
        lambda context: tf.constant(np.split(x, 2)[context.replica_id_in_sync_group])
    )

    @tf.function(autograph=False)
    def step(shares):
        mirrored.run(lambda share: layer(share, training=True), args=(shares,))

    step(shares)
    mean = x.mean((0, 1), dtype="float64")
    shares = x.astype("float64").reshape(2, -1, 3)
    variance = x.var((0, 1), dtype="float64") if synchronized else shares.var(1).mean(0)
    for variable, expected in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        for replica in mirrored.experimental_local_results(variable.value):
            np.testing.assert_allclose(replica, expected, rtol=1e-5)


def test_save_and_load(tmp_path):
    x = data(8, 3)
    norm = BatchNormalizationWithoutMovingAverages(axis=1, epsilon=1e-5, synchronized=True)
    model = keras.Sequential([keras.Input((3,)), norm])
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].get_config() == norm.get_config()
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"momentum": 0.9}, "momentum: expected 0, .*, received 0.9"),
        ({"renorm": True}, "renorm: expected False, received True"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        BatchNormalizationWithoutMovingAverages(**arguments)
