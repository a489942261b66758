"""Steps decentralized optimizers on given gradients, each replica a node.

    python replica_exchange_script.py STRATEGY NUM_LOGICAL_DEVICES NAME,NAME,... RESULT

`replica_exchange_test.py` runs it and compares with stacked nodes. The result has this
process' replicas in the leading axis.
"""

import sys

import numpy as np

from lbkeras.keras_internals.devices import configure_devices

configure_devices(num_logical_devices=int(sys.argv[2]))

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from lbkeras import distribution, optimizers  # noqa: E402
from lbkeras.methods.decentralized import mixing  # noqa: E402

STEPS = 8
RATES = [0.1 * min(1, step / 3) for step in range(STEPS)]


def make(name, nodes):
    name, _, clipped = name.partition("+")
    common = dict(learning_rate=0.1, momentum=0.9, weight_decay=0.05)
    if clipped:
        common["clipnorm"] = 0.5
    if name in ("DmSGD", "DecentLaM"):
        return getattr(optimizers, name)(mixing=mixing.grid(nodes), **common)
    return getattr(optimizers, name)(num_nodes=nodes, **common)


def given(nodes):
    """Start and gradients: `(nodes, 3, 2)`, `(steps, nodes, 3, 2)`."""
    generator = np.random.default_rng(0)
    start = generator.standard_normal((3, 2)).astype("float32")
    gradients = generator.standard_normal((STEPS, nodes, 3, 2)).astype("float32")
    return np.repeat(start[None], nodes, axis=0), gradients


def trained(strategy, name):
    """The weights of this process' replicas after all steps."""
    nodes = strategy.num_replicas_in_sync
    start, gradients = given(nodes)
    with strategy.scope():
        variable = keras.Variable(start[0])
        optimizer = make(name, nodes)
        optimizer.build([variable])

    def in_replica(gradient):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        # Keras divides the loss by the number of replicas.
        optimizer.apply([gradient[replica] / nodes], [variable])

    @tf.function
    def step(gradient):
        strategy.run(in_replica, args=(gradient,))

    for rate, gradient in zip(RATES, gradients, strict=True):
        optimizer.learning_rate = rate
        step(tf.constant(gradient))
    parts = strategy.experimental_local_results(variable.value)
    return np.stack([part.numpy() for part in parts])


def main():
    strategy = distribution.strategy(sys.argv[1])
    np.savez(sys.argv[-1], **{name: trained(strategy, name) for name in sys.argv[3].split(",")})


if __name__ == "__main__":
    main()
