import numpy as np
import tensorflow as tf

from lbkeras.methods.batch_statistics.moments import masked_moments, plain_moments, pooled_moments


def test_pooled_moments_are_those_of_all_values():
    """Pools parts of 3, 5, 2 and 1 values, with a mean far from 0, to groups of 8 and 3."""
    generator = np.random.default_rng(0)
    parts = [generator.normal(1000.0, 1.0, (n, 2)) for n in (3, 5, 2, 1)]
    group = np.array([0, 0, 1, 1])

    def add(*values):
        values = map(np.asarray, values)
        return [np.array([v[group == i].sum(0) for i in range(2)], "float32") for v in values]

    mean, variance, count = pooled_moments(
        np.array([p.mean(0) for p in parts], "float32"),
        np.array([p.var(0) for p in parts], "float32"),
        np.array([[len(p)] for p in parts], "float32"),
        add,
        lambda values: np.array(values)[group],
    )
    groups = np.concatenate(parts[:2]), np.concatenate(parts[2:])
    np.testing.assert_array_equal(count, [[8], [3]])
    np.testing.assert_allclose(mean, [g.mean(0) for g in groups], rtol=1e-6)
    # float32 rounds the means of 1000 to 6e-5; E[x²] - E[x]² would be wrong by 0.1.
    np.testing.assert_allclose(variance, [g.var(0) for g in groups], rtol=1e-3)


def test_masked_moments():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, 6, 3)).astype("float32")
    mask = generator.random((2, 6, 3)) < 0.5
    mask[1, :, 2] = False  # nothing counted
    mean, variance, count = masked_moments(x, mask, (1,))
    np.testing.assert_array_equal(count, mask.sum(1))
    for i, j in np.ndindex(2, 3):
        seen = x[i, mask[i, :, j], j]
        expected = (seen.mean(), seen.var()) if len(seen) else (0, 0)
        np.testing.assert_allclose((mean[i, j], variance[i, j]), expected, rtol=1e-5, atol=1e-7)


def test_plain_moments_and_their_first_and_second_derivatives():
    """These are 2 / n (x - mean) and 2 / n (1 - 1 / n); a constant mean would miss the 1 / n."""
    x = np.random.default_rng(0).normal(100.0, 1.0, (1, 5, 1, 1)).astype("float32")
    with tf.GradientTape() as outer:
        variable = tf.constant(x)
        outer.watch(variable)
        with tf.GradientTape() as inner:
            inner.watch(variable)
            mean, variance = plain_moments(variable, (1, 3))
        first = inner.gradient(variance, variable)
    second = outer.jacobian(first, variable)
    wide = x.astype("float64")
    np.testing.assert_allclose(mean, [[wide.mean()]], rtol=1e-6)
    np.testing.assert_allclose(variance, [[wide.var()]], rtol=1e-4)
    np.testing.assert_allclose(first, 2 / 5 * (wide - wide.mean()), atol=1e-5)
    expected = 2 / 5 * (np.eye(5) - 1 / 5)
    np.testing.assert_allclose(np.reshape(second, (5, 5)), expected, atol=1e-6)
