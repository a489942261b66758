import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbkeras.errors import UserError
from lbkeras.layers import GhostBatchNormalization

GAMMA, BETA = np.array([1.5, 0.5, -2.0], "float32"), np.array([0.1, -0.3, 2.0], "float32")
MEAN, VARIANCE = np.array([0.5, -1.0, 0.0], "float32"), np.array([2.0, 1.0, 0.5], "float32")


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, shape).astype("float32")


def built(layer, input_shape):
    layer.build(input_shape)
    layer.set_weights([GAMMA, BETA, MEAN, VARIANCE])
    return layer


def formula(x, ghost_batch_size, axis=-1, epsilon=1e-3, momentum=0.9, mean=MEAN, variance=VARIANCE):
    """Returns `(y, moving_mean, moving_variance)` in float64, one small batch after the other."""
    mean, variance = mean.astype("float64"), variance.astype("float64")
    x = np.moveaxis(x.astype("float64"), axis, -1)
    parts = []
    for ghost in np.array_split(x, -(-len(x) // ghost_batch_size)):
        axes = tuple(range(x.ndim - 1))
        ghost_mean, ghost_variance = ghost.mean(axes), ghost.var(axes)
        parts.append((ghost - ghost_mean) / np.sqrt(ghost_variance + epsilon) * GAMMA + BETA)
        mean = momentum * mean + (1 - momentum) * ghost_mean
        variance = momentum * variance + (1 - momentum) * ghost_variance
    return np.moveaxis(np.concatenate(parts), -1, axis), mean, variance


def moving(layer):
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def check(layer, y, expected, tolerance=1e-5):
    y_expected, *statistics = expected
    np.testing.assert_allclose(y, y_expected, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(moving(layer), statistics, rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 20),
    ghost_batch_size=st.integers(1, 24),
    rank_and_axis=st.sampled_from(
        [(2, -1), (3, -1), (3, 1), (4, -1), (4, 1), (4, 2), (4, -3), (5, 4), (5, 1)]
    ),
)
def test_any_size_rank_and_axis(batch, ghost_batch_size, rank_and_axis):
    rank, axis = rank_and_axis
    shape = [batch, 2, 3, 2, 2][:rank]
    shape[axis] = 3
    x = data(*shape)
    layer = built(GhostBatchNormalization(ghost_batch_size, axis=axis, momentum=0.9), shape)
    check(layer, layer(x, training=True).numpy(), formula(x, ghost_batch_size, axis))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(batch=st.integers(2, 40), ghost_batch_size=st.integers(2, 40))
def test_each_ghost_has_mean_0_and_variance_1(batch, ghost_batch_size):
    layer = GhostBatchNormalization(ghost_batch_size, epsilon=0.0)
    y = layer(data(batch, 8, 3), training=True).numpy().astype("float64")
    ghosts = np.array_split(y, -(-batch // ghost_batch_size))
    assert max(map(len, ghosts)) <= ghost_batch_size
    for ghost in ghosts:
        np.testing.assert_allclose(ghost.mean((0, 1)), 0, atol=1e-5)
        np.testing.assert_allclose(ghost.var((0, 1)), 1, rtol=1e-5)


@pytest.mark.parametrize("ghost_batch_size", [1, 2, 3, 5])
def test_ghosts_of_a_batch_of_12(ghost_batch_size):
    """Checks the property that mosaicml/composer tests, with its sizes."""
    layer = GhostBatchNormalization(ghost_batch_size, epsilon=0.0)
    y = layer(data(12, 4, 4, 3), training=True).numpy().astype("float64")
    for ghost in np.split(y, -(-12 // ghost_batch_size)):
        np.testing.assert_allclose(ghost.mean((0, 1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(ghost.var((0, 1, 2)), 1, rtol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("batch", [12, 13, 3])
@pytest.mark.parametrize("known", [True, False])
def test_in_a_graph(jit_compile, batch, known):
    """With static shapes or a batch dimension of None; even, uneven or a single ghost."""
    import tensorflow as tf

    x = data(batch, 2, 2, 3)
    layer = built(GhostBatchNormalization(4, momentum=0.9), x.shape)
    spec = tf.TensorSpec((batch if known else None, 2, 2, 3))
    call = tf.function(
        lambda x: layer(x, training=True), input_signature=[spec], jit_compile=jit_compile
    )
    check(layer, call(x).numpy(), formula(x, 4))


def test_unknown_image_size():
    import tensorflow as tf

    x = data(6, 4, 5, 3)
    layer = built(GhostBatchNormalization(2, momentum=0.9), x.shape)
    call = tf.function(
        lambda x: layer(x, training=True), input_signature=[tf.TensorSpec((None, None, None, 3))]
    )
    check(layer, call(x).numpy(), formula(x, 2))


def gradients(layer, x, dy, mask=None):
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True, mask=mask)
    wanted = [x, *(v.value for v in layer.trainable_variables)]
    return [y.numpy(), *(g.numpy() for g in tape.gradient(y, wanted, dy))]


@pytest.mark.parametrize("ghost_batch_size", [8, 100])
@pytest.mark.parametrize("axis", [-1, 1])
def test_one_ghost_is_batch_normalization(ghost_batch_size, axis):
    shape = (8, 3, 4, 3)
    x, dy = data(*shape), data(*shape, seed=1)
    options = {"axis": axis, "momentum": 0.9}
    ghost = built(GhostBatchNormalization(ghost_batch_size, **options), shape)
    plain = built(keras.layers.BatchNormalization(**options), shape)
    for ours, keras_own in zip(gradients(ghost, x, dy), gradients(plain, x, dy), strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(moving(ghost), moving(plain), rtol=1e-6)


@pytest.mark.parametrize("batch", [12, 11])
def test_ghosts_are_small_batches(batch):
    """Outputs, gradients and moving statistics equal batch norm's on one small batch at a time."""
    x, dy = data(batch, 2, 3), data(batch, 2, 3, seed=1)
    ghost = built(GhostBatchNormalization(4, momentum=0.9), x.shape)
    plain = built(keras.layers.BatchNormalization(momentum=0.9), x.shape)
    small = [
        gradients(plain, *parts)
        for parts in zip(np.array_split(x, 3), np.array_split(dy, 3), strict=True)
    ]
    y, dx, dgamma, dbeta = gradients(ghost, x, dy)
    ys, dxs, dgammas, dbetas = zip(*small, strict=True)
    for ours, keras_own in [
        (y, np.concatenate(ys)),
        (dx, np.concatenate(dxs)),
        (dgamma, sum(dgammas)),
        (dbeta, sum(dbetas)),
    ]:
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(moving(ghost), moving(plain), rtol=1e-6)


def test_moving_statistics_by_the_mean():
    x = data(11, 4, 3)
    layer = built(GhostBatchNormalization(4, momentum=0.9, moving_statistics="mean"), x.shape)
    layer(x, training=True)
    ghosts = np.array_split(x.astype("float64"), 3)
    expected = [
        0.9 * MEAN + 0.1 * np.mean([g.mean((0, 1)) for g in ghosts], axis=0),
        0.9 * VARIANCE + 0.1 * np.mean([g.var((0, 1)) for g in ghosts], axis=0),
    ]
    np.testing.assert_allclose(moving(layer), expected, rtol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_momentum_0_keeps_the_last_ghost_and_1_keeps_everything(momentum):
    x = data(9, 3)
    layer = built(GhostBatchNormalization(3, momentum=momentum), x.shape)
    layer(x, training=True)
    last = x[6:].mean(0), x[6:].var(0)
    np.testing.assert_allclose(moving(layer), (MEAN, VARIANCE) if momentum else last, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_inference_is_plain_for_any_batch(batch):
    x = data(batch, 2, 3)
    ghost = built(GhostBatchNormalization(4), x.shape)
    y = ghost(x).numpy()
    expected = (x - MEAN) / np.sqrt(VARIANCE.astype("float64") + 1e-3) * GAMMA + BETA
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    plain = built(keras.layers.BatchNormalization(), x.shape)
    np.testing.assert_array_equal(y, plain(x).numpy())
    np.testing.assert_array_equal(moving(ghost), [MEAN, VARIANCE])


def test_frozen_layer_runs_in_inference_mode():
    x = data(8, 3)
    layer = built(GhostBatchNormalization(4, trainable=False), x.shape)
    np.testing.assert_array_equal(layer(x, training=True).numpy(), layer(x).numpy())
    np.testing.assert_array_equal(moving(layer), [MEAN, VARIANCE])


def test_without_scale_and_center():
    x = data(8, 3)
    layer = GhostBatchNormalization(4, scale=False, center=False)
    y = layer(x, training=True).numpy()
    assert layer.trainable_variables == []
    np.testing.assert_allclose(y, (formula(x, 4)[0] - BETA) / GAMMA, atol=1e-5)


@pytest.mark.parametrize("dtype, tolerance", [("bfloat16", 2e-2), ("float16", 2e-3)])
def test_mixed_precision_has_float32_statistics(dtype, tolerance):
    # Values near 1000: their squares overflow float16, their sums lose all precision in bfloat16.
    x = (data(64, 4, 4, 3) + 1000).astype("float16").astype("float32")
    policy = keras.DTypePolicy(f"mixed_{dtype}")
    layer = built(GhostBatchNormalization(16, dtype=policy, momentum=0.9), x.shape)
    inputs = keras.ops.cast(x, dtype)
    y = layer(inputs, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    seen = keras.ops.convert_to_numpy(keras.ops.cast(inputs, "float32"))
    expected = formula(seen, 16)
    y = keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))
    # float32 rounds 1000 to 6e-5.
    np.testing.assert_allclose(y, expected[0], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(moving(layer), expected[1:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [6, 7])
def test_mask_leaves_positions_out(batch):
    x = data(batch, 5, 3)
    mask = np.random.default_rng(1).random((batch, 5)) < 0.6
    layer = built(GhostBatchNormalization(3, momentum=0.9), x.shape)
    y = layer(x, training=True, mask=mask).numpy()
    mean, variance = MEAN.astype("float64"), VARIANCE.astype("float64")
    ghosts = -(-batch // 3)
    places = zip(*(np.array_split(a, ghosts) for a in (x, y, mask)), strict=True)
    for ghost, ghost_y, ghost_mask in places:
        seen = ghost[ghost_mask].astype("float64")
        expected = (ghost - seen.mean(0)) / np.sqrt(seen.var(0) + 1e-3) * GAMMA + BETA
        np.testing.assert_allclose(ghost_y, expected, rtol=1e-5, atol=1e-5)
        mean, variance = 0.9 * mean + 0.1 * seen.mean(0), 0.9 * variance + 0.1 * seen.var(0)
    np.testing.assert_allclose(moving(layer), [mean, variance], rtol=1e-5)


def test_a_ghost_that_is_masked_completely():
    x, mask = data(6, 5, 3), np.ones((6, 5), bool)
    mask[3:] = False
    layer = built(GhostBatchNormalization(3, momentum=0.9), x.shape)
    y, dx, *_ = gradients(layer, x, np.ones_like(x), mask=mask)
    assert np.isfinite(y).all() and np.isfinite(dx).all()
    first = x[:3].astype("float64")
    # The second ghost's weight of 0.1 stays with the old values; the first has 0.9 · 0.1.
    expected = [
        0.91 * MEAN + 0.09 * first.mean((0, 1)),
        0.91 * VARIANCE + 0.09 * first.var((0, 1)),
    ]
    np.testing.assert_allclose(moving(layer), expected, rtol=1e-5)


def test_one_masked_ghost_is_batch_normalization():
    x, dy = data(6, 5, 3), data(6, 5, 3, seed=1)
    mask = np.random.default_rng(1).random((6, 5)) < 0.6
    ghost = built(GhostBatchNormalization(6), x.shape)
    plain = built(keras.layers.BatchNormalization(), x.shape)
    ours, keras_own = gradients(ghost, x, dy, mask), gradients(plain, x, dy, mask)
    for a, b in zip(ours, keras_own, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_fit_save_and_load(tmp_path, digits):
    keras.utils.set_random_seed(0)
    images, labels = digits
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Conv2D(4, 3),
            GhostBatchNormalization(16, momentum=0.9, moving_statistics="mean"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.2, momentum=0.9), loss, metrics=["accuracy"])
    # 600 = 4 x 128 + 88, so the last batch's ghosts have 15, 15, 15, 15, 14 and 14 examples.
    history = model.fit(images[:600], labels[:600], batch_size=128, epochs=8, verbose=0).history
    assert history["accuracy"][-1] > 0.85
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    layer = loaded.layers[2]
    assert isinstance(layer, GhostBatchNormalization)
    assert (layer.ghost_batch_size, layer.moving_statistics) == (16, "mean")
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_config():
    layer = GhostBatchNormalization(
        32,
        axis=1,
        momentum=0.8,
        epsilon=1e-5,
        scale=False,
        beta_regularizer="l2",
        synchronized=True,
    )
    copy = GhostBatchNormalization.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.ghost_batch_size, copy.synchronized, copy.momentum) == (32, True, 0.8)


JAX = """
import os, sys
os.environ["KERAS_BACKEND"] = "jax"
import jax, keras, numpy as np
from lbkeras.layers import GhostBatchNormalization
data = np.load(sys.argv[1])
out = {}
for name in ("even", "uneven"):
    x, dy = data[name], data[name + "_dy"]
    layer = GhostBatchNormalization(4, momentum=0.9)
    layer.build(x.shape)
    layer.set_weights([data[n] for n in ("gamma", "beta", "mean", "variance")])
    states = [v.value for v in layer.non_trainable_variables]
    def loss(variables, x):
        y, new = layer.stateless_call(variables, states, x, training=True)
        return (y * dy).sum(), (y, new)
    variables = [v.value for v in layer.trainable_variables]
    grads, (y, new) = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(variables, x)
    out |= {f"{name}{i}": a for i, a in enumerate([y, grads[1], *grads[0], *new])}
np.savez(sys.argv[2], **out)
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
@pytest.mark.release
def test_jax_backend(tmp_path):
    inputs = {"gamma": GAMMA, "beta": BETA, "mean": MEAN, "variance": VARIANCE}
    for name, batch in (("even", 12), ("uneven", 11)):
        inputs |= {name: data(batch, 2, 2, 3), f"{name}_dy": data(batch, 2, 2, 3, seed=1)}
    np.savez(tmp_path / "in.npz", **inputs)
    command = [sys.executable, "-c", JAX, tmp_path / "in.npz", tmp_path / "out.npz"]
    subprocess.run(command, check=True, env={**os.environ, "KERAS_BACKEND": "jax"})
    out = np.load(tmp_path / "out.npz")
    for name in ("even", "uneven"):
        x = inputs[name]
        layer = built(GhostBatchNormalization(4, momentum=0.9), x.shape)
        here = [*gradients(layer, x, inputs[f"{name}_dy"]), *moving(layer)]
        for i, expected in enumerate(here):
            np.testing.assert_allclose(out[f"{name}{i}"], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(out[f"{name}0"], formula(x, 4)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0,), "ghost_batch_size: expected a whole number of at least 1, received 0"),
        ((-3,), "ghost_batch_size: .*, received -3"),
        ((2.5,), "ghost_batch_size: .*, received 2.5"),
        ((True,), "ghost_batch_size: .*, received True"),
        (("32",), "ghost_batch_size: .*, received '32'"),
        ((4, -1, "last"), "moving_statistics: expected 'sequential' or 'mean', received 'last'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        GhostBatchNormalization(*arguments)


def test_renorm_is_refused():
    with pytest.raises(UserError, match="renorm: expected False, received True"):
        GhostBatchNormalization(4, renorm=True)


@pytest.mark.parametrize("axis", [0, -2, 5])
def test_channels_on_the_batch_axis(axis):
    with pytest.raises(UserError, match=rf"axis: expected .* received axis={axis} .* \(4, 3\)"):
        GhostBatchNormalization(2, axis=axis).build((4, 3))


def test_mask_of_another_rank():
    with pytest.raises(UserError, match=r"mask: .*\(4, 2, 3\), received shape \(4,\)"):
        GhostBatchNormalization(2)(data(4, 2, 3), training=True, mask=np.ones(4, bool))
