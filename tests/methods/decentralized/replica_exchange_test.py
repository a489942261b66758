"""Replicas as nodes, on four devices and in three processes: the same numbers as stacked nodes.

Each replica clips its own gradient, by the norm of a node.
"""

from pathlib import Path

import numpy as np
import pytest

from tests.distribution.workers import run_workers

SCRIPT = Path(__file__).parent / "replica_exchange_script.py"
NAMES = ("DmSGD", "DmSGD+clipped", "DecentLaM", "GossipSGD", "ElasticAveragingSGD")

pytestmark = pytest.mark.slow


def stacked(name, nodes):
    """The same steps with the nodes in the leading axis, in this process."""
    import keras

    from lbkeras import optimizers
    from lbkeras.methods.decentralized import mixing

    name, _, clipped = name.partition("+")
    common = dict(learning_rate=0.1, momentum=0.9, weight_decay=0.05)
    if clipped:
        common["clipnorm"] = 0.5
    if name in ("DmSGD", "DecentLaM"):
        optimizer = getattr(optimizers, name)(mixing=mixing.grid(nodes), **common)
    else:
        optimizer = getattr(optimizers, name)(num_nodes=nodes, **common)
    generator = np.random.default_rng(0)
    start = generator.standard_normal((3, 2)).astype("float32")
    gradients = generator.standard_normal((8, nodes, 3, 2)).astype("float32")
    variable = keras.Variable(np.repeat(start[None], nodes, axis=0))
    for step, gradient in enumerate(gradients):
        optimizer.learning_rate = 0.1 * min(1, step / 3)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return variable.numpy()


@pytest.mark.parametrize(
    "strategy, devices, num_workers",
    [
        ("mirrored", 4, 1),
        pytest.param("mirrored", 3, 1, marks=pytest.mark.release),
        ("multi_worker", 1, 2),
        pytest.param("multi_worker", 1, 3, marks=pytest.mark.release),
    ],
)
def test_replicas_do_what_stacked_nodes_do(strategy, devices, num_workers, tmp_path):
    arguments = strategy, str(devices), ",".join(NAMES)
    results = run_workers(SCRIPT, tmp_path, *arguments, num_workers=num_workers)
    for name in NAMES:
        ours = np.concatenate([result[name] for result in results])
        nodes = devices * num_workers
        np.testing.assert_allclose(ours, stacked(name, nodes), rtol=1e-5, atol=1e-6, err_msg=name)
        if name != "ElasticAveragingSGD" and nodes > 2:
            assert np.ptp(ours, axis=0).max() > 1e-3
