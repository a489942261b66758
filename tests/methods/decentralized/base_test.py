"""Decentralized optimizers agree with NumPy restatements; their inconsistency bias."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.methods.decentralized import mixing
from lbkeras.methods.decentralized.matching import random_matching
from lbkeras.optimizers import DecentLaM, DmSGD, ElasticAveragingSGD, GossipSGD

SHAPES = [(3, 2), (4,)]
STEPS = 20
DECAY = 0.05


def make_nodes(num_nodes, seed=0):
    """Returns weights `[variable][node]`, gradients `[step][variable][node]`, changing rates."""
    generator = np.random.default_rng(seed)
    weights = [generator.standard_normal((num_nodes, *shape)) for shape in SHAPES]
    gradients = [
        [generator.standard_normal((num_nodes, *shape)) for shape in SHAPES] for _ in range(STEPS)
    ]
    rates = [0.1 * min(1, step / 5) * (0.1 if step > 14 else 1) for step in range(STEPS)]
    return weights, gradients, rates


# The papers' rules in NumPy, node by node; `state` is empty before the first step.


def dmsgd(x, g, state, rate, step, w, momentum):
    m = state.setdefault("m", [0.0] * len(x))
    for i in range(len(x)):
        m[i] = momentum * m[i] + rate * (g[i] + DECAY * x[i])
    half = [x[i] - m[i] for i in range(len(x))]
    return [sum(w[i, j] * half[j] for j in range(len(x))) for i in range(len(x))]


def decentlam(x, g, state, rate, step, w, momentum):
    """Algorithm 2, with u = rate * m instead of m so that the rate may be 0 and may change."""
    u = state.setdefault("u", [0.0] * len(x))
    n = range(len(x))
    decayed = [g[j] + DECAY * x[j] for j in n]
    for i in n:
        towards = x[i] - sum(w[i, j] * x[j] for j in n)
        u[i] = momentum * u[i] + towards + rate * sum(w[i, j] * decayed[j] for j in n)
    return [x[i] - u[i] for i in n]


def gossip(x, g, state, rate, step, w, momentum):
    partner = random_matching(len(x), seed=7, step=step)
    m = state.setdefault("m", [0.0] * len(x))
    for i in range(len(x)):
        m[i] = momentum * m[i] + rate * (g[i] + DECAY * x[i])
    half = [x[i] - m[i] for i in range(len(x))]
    return [(half[i] + half[partner[i]]) / 2 for i in range(len(x))]


def elastic(x, g, state, rate, step, w, momentum):
    m = state.setdefault("m", [0.0] * len(x))
    centre = state.setdefault("c", np.copy(x[0]))
    for i in range(len(x)):
        m[i] = momentum * m[i] + rate * (g[i] + DECAY * x[i])
    x = [x[i] - m[i] for i in range(len(x))]
    state["c"] = centre + 0.2 * sum(xi - centre for xi in x)
    return [xi - 0.2 * (xi - centre) for xi in x]


def make(name, num_nodes, topology="ring", momentum=0.9, rate=0.1, **more):
    common = dict(learning_rate=rate, momentum=momentum, weight_decay=DECAY) | more
    if name in ("DmSGD", "DecentLaM"):
        matrix = mixing.mixing_matrix(topology, num_nodes)
        return {"DmSGD": DmSGD, "DecentLaM": DecentLaM}[name](mixing=matrix, **common)
    if name == "GossipSGD":
        return GossipSGD(num_nodes=num_nodes, seed=7, **common)
    return ElasticAveragingSGD(num_nodes=num_nodes, elasticity=0.2, **common)


RULES = {
    "DmSGD": dmsgd,
    "DecentLaM": decentlam,
    "GossipSGD": gossip,
    "ElasticAveragingSGD": elastic,
}
CASES = [
    ("DmSGD", "ring"),
    ("DmSGD", "exponential"),
    ("DmSGD", "grid"),
    ("DmSGD", "complete"),
    ("DecentLaM", "ring"),
    ("DecentLaM", "exponential"),
    ("DecentLaM", "grid"),
    ("DecentLaM", "complete"),
    ("GossipSGD", None),
    ("ElasticAveragingSGD", None),
]


def starts(name, weights):
    """Returns the initial weights; elastic averaging starts with equal nodes."""
    if name != "ElasticAveragingSGD":
        return weights
    return [np.repeat(w[:1], len(w), axis=0) for w in weights]


def restated(name, topology, num_nodes, momentum=0.9):
    weights, gradients, rates = make_nodes(num_nodes)
    matrix = mixing.mixing_matrix(topology or "complete", num_nodes)
    results = []
    for i, start in enumerate(starts(name, weights)):
        x, state = list(start), {}
        for step, rate in enumerate(rates):
            x = RULES[name](x, gradients[step][i], state, rate, step, matrix, momentum)
        results.append(np.array(x))
    return results


def stacked(name, topology, num_nodes, momentum=0.9):
    weights, gradients, rates = make_nodes(num_nodes)
    variables = [keras.Variable(w.astype("float32")) for w in starts(name, weights)]
    optimizer = make(name, num_nodes, topology, momentum)
    optimizer.build(variables)

    @tf.function
    def step(gradients):
        optimizer.apply(gradients, variables)

    for index, rate in enumerate(rates):
        optimizer.learning_rate = rate
        step([tf.constant(g, tf.float32) for g in gradients[index]])
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("name, topology", CASES)
def test_four_stacked_nodes_follow_the_paper(name, topology, momentum, relative_difference):
    ours = stacked(name, topology, 4, momentum)
    assert relative_difference(ours, restated(name, topology, 4, momentum)) < 1e-5


@pytest.mark.parametrize("clipping", [{}, {"clipnorm": 1.0}], ids=["", "clipped"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", RULES)
def test_half_precision_is_float32_with_rounded_weights(name, dtype, clipping):
    """In float16 the first moves would be 0, and the squares for clipping would overflow."""
    weights, gradients, _ = make_nodes(4)
    begin = [tf.cast(w, dtype) for w in starts(name, weights)]
    half = [keras.Variable(w, dtype=dtype) for w in begin]
    full = [keras.Variable(tf.cast(w, "float32")) for w in begin]
    optimizers = [make(name, 4, **clipping) for _ in range(2)]
    scales = [1e-2, 1e-2, 1e-2, 1.0, 400.0 if clipping else 4.0]
    for step, scale in enumerate(scales):
        given = [tf.cast(scale * g, dtype) for g in gradients[step]]
        for optimizer, variables in zip(optimizers, (half, full), strict=True):
            optimizer.learning_rate = 1e-6 if step < 2 else 0.1
            optimizer.apply([tf.cast(g, variables[0].dtype) for g in given], variables)
        for variable, expected in zip(half, full, strict=True):
            expected.assign(tf.cast(tf.cast(expected.value, dtype), "float32"))
            np.testing.assert_array_equal(tf.cast(variable.value, "float32"), expected)
    slots = [v for v in optimizers[0].variables if len(v.shape) > 0]
    assert {keras.backend.standardize_dtype(v.dtype) for v in slots} == {"float32"}


@pytest.mark.parametrize("name", RULES)
def test_an_odd_number_of_nodes(name, relative_difference):
    ours = stacked(name, "ring", 5)
    assert relative_difference(ours, restated(name, "ring", 5)) < 1e-5


def test_without_momentum_decentlam_is_decentralized_sgd(relative_difference):
    ours, expected = stacked("DecentLaM", "ring", 4, 0.0), stacked("DmSGD", "ring", 4, 0.0)
    assert relative_difference(ours, expected) < 1e-6


@pytest.mark.parametrize("name", ["DmSGD", "DecentLaM"])
def test_the_complete_graph_is_momentum_sgd_on_the_mean_gradient(name, relative_difference):
    weights, gradients, rates = make_nodes(4)
    ours = [keras.Variable(np.repeat(w[:1], 4, axis=0).astype("float32")) for w in weights]
    theirs = [keras.Variable(w[0].astype("float32")) for w in weights]
    optimizer = make(name, 4, "complete", weight_decay=0.0)
    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    for step, rate in zip(gradients, rates, strict=True):
        optimizer.learning_rate = sgd.learning_rate = rate
        optimizer.apply([tf.constant(g, tf.float32) for g in step], ours)
        sgd.apply([tf.constant(g.mean(axis=0), tf.float32) for g in step], theirs)
    for node in range(4):
        nodes = [variable.numpy()[node] for variable in ours]
        assert relative_difference(nodes, [v.numpy() for v in theirs]) < 1e-5


@pytest.mark.parametrize("name", ["DmSGD", "DecentLaM", "GossipSGD"])
def test_exchanging_keeps_the_mean_and_brings_the_nodes_together(name):
    start = np.random.default_rng(1).standard_normal((6, 3)).astype("float32")
    variable = keras.Variable(start)
    optimizer = make(name, 6, weight_decay=0.0, momentum=0.0)
    for _ in range(30):
        optimizer.apply([tf.zeros((6, 3))], [variable])
    np.testing.assert_allclose(variable.numpy().mean(axis=0), start.mean(axis=0), atol=1e-6)
    assert np.ptp(variable.numpy(), axis=0).max() < 0.1 * np.ptp(start, axis=0).max()


def test_clipping_uses_each_nodes_norms(relative_difference):
    weights, gradients, _ = make_nodes(4)
    gradients[0][0][1] *= 100
    matrix = mixing.ring(4)
    norms = np.sqrt(sum(np.sum(np.square(g.reshape(4, -1)), axis=1) for g in gradients[0]))
    for option in ("clipnorm", "global_clipnorm"):
        variables = [keras.Variable(w.astype("float32")) for w in weights]
        optimizer = DmSGD(0.1, matrix, momentum=0.0, **{option: 0.5})
        optimizer.apply([tf.constant(g, tf.float32) for g in gradients[0]], variables)
        for i, weight in enumerate(weights):
            g = gradients[0][i]
            own = np.sqrt(np.sum(np.square(g.reshape(4, -1)), axis=1))
            factors = np.minimum(1, 0.5 / (own if option == "clipnorm" else norms))
            moved = weight - 0.1 * g * factors.reshape(4, *[1] * (g.ndim - 1))
            expected = np.tensordot(matrix, moved, 1)
            assert relative_difference([variables[i].numpy()], [expected]) < 1e-5


# The inconsistency bias: linear regression without noise; each node has its own target.


def bias(name, momentum, rate, topology="ring", num_nodes=8):
    """Returns the mean squared distance of the nodes from the common optimum after training."""
    generator = np.random.default_rng(0)
    a = generator.standard_normal((num_nodes, 12, 4))
    target = np.einsum("nij,nj->ni", a, 1 + generator.standard_normal((num_nodes, 4)))
    hessians = np.einsum("nij,nik->njk", a, a) / 12
    linear = np.einsum("nij,ni->nj", a, target) / 12
    optimum = np.linalg.solve(hessians.sum(axis=0), linear.sum(axis=0))
    variable = keras.Variable(np.zeros((num_nodes, 4)), dtype="float64")
    optimizer = make(name, num_nodes, topology, momentum, rate, weight_decay=0.0)

    @tf.function
    def train(steps):
        for _ in tf.range(steps):
            gradient = tf.einsum("njk,nk->nj", hessians, variable.value) - linear
            optimizer.apply([gradient], [variable])

    optimizer.build([variable])
    train(int(40 / rate))
    return float(np.mean(np.sum(np.square(variable.numpy() - optimum), axis=1)))


@pytest.mark.slow
def test_decentlams_bias_is_that_of_decentralized_sgd_and_dmsgds_grows_with_momentum():
    """At equal learning rates DmSGD's bias grows like 1 / (1 - momentum)^2, here to 25 times."""
    plain = bias("DmSGD", 0.0, 0.002)
    assert bias("DecentLaM", 0.8, 0.002) == pytest.approx(plain, rel=1e-3)
    ratios = [bias("DmSGD", momentum, 0.002) / plain for momentum in (0.5, 0.8)]
    assert ratios == pytest.approx([4, 25], rel=0.1)


def test_the_bias_grows_with_the_square_of_the_learning_rate():
    small, large = bias("DecentLaM", 0.8, 0.002), bias("DecentLaM", 0.8, 0.004)
    assert large / small == pytest.approx(4, rel=0.1)


def test_the_bias_vanishes_on_the_complete_graph():
    assert bias("DecentLaM", 0.8, 0.01, "complete") < 1e-20


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: DmSGD(0.1, [[0.5, 0.5]]), r"^mixing: expected a square matrix, received shape"),
        (lambda: DmSGD(0.1, "ring"), "^mixing: expected a square matrix, received 'ring'"),
        (
            lambda: DecentLaM(0.1, [[0.5, 0.5], [0.4, 0.6]]),
            "^mixing: expected rows and columns that sum to 1, received 1.1",
        ),
        (
            lambda: DecentLaM(0.1, [[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
            "^mixing: expected a symmetric matrix, received",
        ),
        (lambda: GossipSGD(0.1, num_nodes=0), "^num_nodes: expected .* at least 1, received 0"),
        (lambda: GossipSGD(0.1, 2, seed=0.5), "^seed: expected a whole number, received 0.5"),
        (lambda: DmSGD(0.1, momentum=1), "^momentum: expected a number in "),
        (
            lambda: ElasticAveragingSGD(0.1, num_nodes=4, elasticity=0.5),
            "^elasticity: expected at most 1 / num_nodes = 0.25, received 0.5",
        ),
    ],
)
def test_messages(build, message):
    with pytest.raises(UserError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_a_model_without_nodes_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(
        UserError, match="^variables: expected a leading axis of the 8 nodes .*kern"
    ):
        DmSGD(0.1, mixing.ring(8)).build(model.trainable_variables)


def test_several_replicas_are_refused_in_one_line(mirrored):
    with mirrored.scope():
        variable = keras.Variable(np.zeros((2, 4), "float32"))
        optimizer = DmSGD(0.1, mixing.ring(2))
    message = (
        "^strategy: expected one replica for DmSGD, .*trainers.StackedNodes stacks, received 2$"
    )
    with pytest.raises(UserError, match=message):
        optimizer.build([variable])
