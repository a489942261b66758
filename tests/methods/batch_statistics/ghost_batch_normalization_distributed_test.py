"""Ghosts under MirroredStrategy: on two logical CPUs here, on four in a separate process."""

import keras
import numpy as np
import pytest

from lbkeras.layers import GhostBatchNormalization
from tests.forked import Forked

CHANNELS = 3


def data(batch, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, (batch, 4, CHANNELS)).astype("float32")


def run(strategy, layer_arguments, x, dy, known=True):
    """Returns `(y, dx, dgamma, dbeta, each replica's moving statistics)` of one step on a batch."""
    import tensorflow as tf

    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        layer = GhostBatchNormalization(momentum=0.9, epsilon=1e-3, **layer_arguments)
        layer.build(x.shape)

    def one_replica(x, dy):
        if not known:  # as in `fit` on a data set with a remainder
            x = tf.raw_ops.PlaceholderWithDefault(input=x, shape=(None, *x.shape[1:]))
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        wanted = [x, layer.gamma.value, layer.beta.value]
        return y, *tape.gradient(y, wanted, dy)

    def cut(array):
        parts = np.array_split(array, replicas)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    step = tf.function(lambda x, dy: strategy.run(one_replica, args=(x, dy)), autograph=False)
    results = [strategy.experimental_local_results(a) for a in step(cut(x), cut(dy))]
    y, dx = (np.concatenate([part.numpy() for part in result]) for result in results[:2])
    dgamma, dbeta = (sum(part.numpy() for part in result) for result in results[2:])
    variables = (layer.moving_mean.value, layer.moving_variance.value)
    moving = [[v.numpy() for v in strategy.experimental_local_results(a)] for a in variables]
    return y, dx, dgamma, dbeta, moving


def small_batches(parts, x, dy):
    """Does the same with Keras' batch norm on one device, one part of the batch at a time."""
    import tensorflow as tf

    layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3)
    layer.build(x.shape)
    results = []
    for part in parts:
        part_x = tf.constant(x[part])
        with tf.GradientTape() as tape:
            tape.watch(part_x)
            y = layer(part_x, training=True)
        wanted = [part_x, layer.gamma.value, layer.beta.value]
        results.append([y, *tape.gradient(y, wanted, dy[part])])
    y, dx, dgamma, dbeta = zip(*results, strict=True)
    moving = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    return np.concatenate(y), np.concatenate(dx), sum(dgamma), sum(dbeta), moving


def check(got, expected):
    for ours, keras_own in zip(got[:4], expected[:4], strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-5)
    for replicas, value in zip(got[4], expected[4], strict=True):
        for replica in replicas:
            np.testing.assert_allclose(replica, value, rtol=1e-5)
            np.testing.assert_array_equal(replica, replicas[0])


def parts_of(*sizes):
    ends = np.cumsum(sizes)
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


@pytest.mark.parametrize("known", [True, pytest.param(False, marks=pytest.mark.release)])
@pytest.mark.parametrize(
    "ghost_batch_size, sizes",
    [
        (2, [2] * 6),
        (4, [3] * 4),  # uneven: 6 examples per replica
        (8, [6, 6]),  # more than one share, less than two
        (100, [12]),  # all replicas
    ],
)
def test_synchronized(mirrored, ghost_batch_size, sizes, known):
    x, dy = data(12), data(12, seed=1)
    arguments = {"ghost_batch_size": ghost_batch_size, "synchronized": True}
    got = run(mirrored, arguments, x, dy, known)
    check(got, small_batches(parts_of(*sizes), x, dy))


@pytest.mark.parametrize(
    "ghost_batch_size, parts",
    [(4, [3, 3, 3, 2]), pytest.param(100, [11], marks=pytest.mark.release)],
)
def test_synchronized_uneven_shares(mirrored, ghost_batch_size, parts):
    """The last batch of a data set: 6 examples and 5 examples."""
    x, dy = data(11), data(11, seed=1)
    arguments = {"ghost_batch_size": ghost_batch_size, "synchronized": True}
    got = run(mirrored, arguments, x, dy, known=False)
    check(got, small_batches(parts_of(*parts), x, dy))


def test_a_replica_without_examples(mirrored):
    x, dy = data(1), data(1, seed=1)
    got = run(mirrored, {"ghost_batch_size": 4, "synchronized": True}, x, dy, known=False)
    check(got, small_batches([slice(0, 1)], x, dy))


def test_synchronized_with_the_mean(mirrored):
    x = data(12)
    arguments = {"ghost_batch_size": 3, "synchronized": True, "moving_statistics": "mean"}
    *_, (means, variances) = run(mirrored, arguments, x, x)
    ghosts = x.astype("float64").reshape(4, -1, CHANNELS)
    for mean, variance in zip(means, variances, strict=True):
        np.testing.assert_allclose(mean, 0.1 * ghosts.mean(1).mean(0), rtol=1e-5)
        np.testing.assert_allclose(variance, 0.9 + 0.1 * ghosts.var(1).mean(0), rtol=1e-5)


def test_not_synchronized_each_replica_has_its_own(mirrored):
    x, dy = data(12), data(12, seed=1)
    *got, (means, _) = run(mirrored, {"ghost_batch_size": 3}, x, dy)
    *expected, _ = small_batches(parts_of(3, 3, 3, 3), x, dy)
    for ours, keras_own in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-5)
    for mean, share in zip(means, (x[:6], x[6:]), strict=True):
        *_, (expected_mean, _) = small_batches(parts_of(3, 3), share, share)
        np.testing.assert_allclose(mean, expected_mean, rtol=1e-5)


@pytest.mark.slow
def test_fit_under_the_strategy_equals_one_device(mirrored, digits):
    images, labels = digits
    images, labels = images[:96], labels[:96]

    def fitted():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Rescaling(1 / 16),
                keras.layers.Flatten(),
                keras.layers.Dense(8),
                GhostBatchNormalization(8, momentum=0.9, synchronized=True),
                keras.layers.Dense(10),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss)
        model.fit(images, labels, batch_size=32, epochs=2, shuffle=False, verbose=0)
        return model.get_weights()

    one_device = fitted()
    with mirrored.scope():
        distributed = fitted()
    for ours, alone in zip(distributed, one_device, strict=True):
        np.testing.assert_allclose(ours, alone, rtol=1e-4, atol=1e-5)


FOUR_REPLICAS = """
import ast, importlib.util, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
devices = [tf.config.LogicalDeviceConfiguration()] * 4
tf.config.set_logical_device_configuration(cpu, devices)
spec = importlib.util.spec_from_file_location("here", sys.argv[1])
here = importlib.util.module_from_spec(spec)
spec.loader.exec_module(here)
strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(4)])
x, dy = here.data(24), here.data(24, seed=1)
for size, ghosts, known in map(ast.literal_eval, sys.argv[2:]):
    arguments = {"ghost_batch_size": size, "synchronized": True}
    print(size, known, flush=True)
    got = here.run(strategy, arguments, x, dy, known)
    here.check(got, here.small_batches(here.parts_of(*[24 // ghosts] * ghosts), x, dy))
"""
# (ghost batch size, number of ghosts)
GROUPS = [(3, 8), (6, 4), (9, 4), (18, 2), (24, 1)]


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param([(9, 4, False)], marks=pytest.mark.slow),
        pytest.param(
            [(*group, known) for group in GROUPS for known in (True, False)],
            marks=pytest.mark.release,
        ),
    ],
    ids=["few", "all"],
)
def test_ghosts_of_groups_of_replicas(cases, tmp_path):
    """Four replicas of 6 examples; no ghost is larger than `ghost_batch_size`."""
    script = tmp_path / "four_replicas.py"
    script.write_text(FOUR_REPLICAS)
    process = Forked(__file__, *cases, script=script)
    output, error = process.communicate(timeout=300)
    assert process.returncode == 0, output + error
