"""Jin, Yuan, Iandola, Keutzer 2016, "How to scale distributed deep learning?"

Paper: arXiv:1611.04581, sections 2 and 4.
Claims: with few nodes (up to about 32), gossiping SGD and elastic averaging train as well as an
all-reduce, or faster; with about 100 nodes the synchronous all-reduce reaches a higher accuracy.

Variants (`--config=configs/papers/jin2016_gossip.py:VARIANT`):
    digits          scikit-learn's digits, embedded; one hidden layer; 4 and 64 nodes; the default
    mnist           MNIST, small convolutional network; 4 and 64 nodes
    mnist_tuning    tunes its learning rates on a held-out fifth of the training split

The nodes are stacked in one process and step at the same time, so we do not compare wall clock,
the paper's argument for asynchronous methods. Each node takes its rows of a shuffled batch, as many
with 64 nodes as with 4, so the global batch size grows with the number of nodes. `all_reduce_N` is
DmSGD on the complete graph, which equals momentum SGD on the mean gradient (tested). Momentum is
0.9 in all arms; we do not know the paper's value. Each arm of digits has its own learning rate: the
best of five, a factor of 2 apart, by val_accuracy on `train[80%:]` after training on `train[:80%]`,
seeds 100 and 101. Ties went to the smaller rate; where the best was at the end of the five, more
were tried. Those of mnist are the best of five in the same way, from mnist_tuning:

    python -m lbkeras.replication.selection runs/jin2016_mnist_tuning

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.

    lbkeras replicate --config=configs/papers/jin2016_gossip.py:digits --workdir=runs/jin2016_digits
"""

from lbkeras import config as common

PAPER = dict(
    citation="Jin et al. 2016",
    title="How to scale distributed deep learning?",
    arxiv="1611.04581",
    setting="ImageNet, ResNet-18; the paper's numbers are not recovered",
    arms={},
)

# For each number of nodes: the learning rate of each method.
_RATES = dict(
    digits={
        4: dict(all_reduce=0.05, gossip=0.0125, elastic=0.1),
        64: dict(all_reduce=0.8, gossip=0.1, elastic=0.05),
    },
    mnist={
        4: dict(all_reduce=0.05, gossip=0.05, elastic=0.05),
        64: dict(all_reduce=0.2, gossip=0.2, elastic=0.2),
    },
)
# For each number of nodes: the middle of the five rates that mnist_tuning tries.
_MIDDLES = {4: 0.05, 64: 0.2}
_METHODS = dict(
    all_reduce=("all-reduce momentum SGD", dict(name="DmSGD", topology="complete")),
    gossip=("gossiping SGD", dict(name="GossipSGD")),
    elastic=("elastic averaging SGD", dict(name="ElasticAveragingSGD")),
)


def _arm(method, nodes, batch_size, learning_rate):
    words, settings = _METHODS[method]
    return dict(
        description=f"{words}, {nodes} nodes, batch {batch_size:,}, learning rate "
        f"{learning_rate:g}",
        optimizer=settings | dict(num_nodes=nodes),
        plan=dict(batch_size=batch_size, learning_rate=learning_rate),
    )


def _experiment(*, data, model, epochs, examples_of_a_node, seeds, tuning=False):
    arms = {}
    for nodes, rates in _RATES[data["name"]].items():
        for method in _METHODS:
            name, batch_size = f"{method}_{nodes}", nodes * examples_of_a_node
            if not tuning:
                arms[name] = _arm(method, nodes, batch_size, rates[method])
                continue
            for rate in common.rates_around(_MIDDLES[nodes]):
                arms[common.rate_arm(name, rate)] = _arm(method, nodes, batch_size, rate)
    return common.experiment(
        data=data | dict(dirichlet_alpha=0.0),
        model=model | dict(num_classes=10),
        optimizer=dict(name="DmSGD", topology="complete", num_nodes=4),
        plan=dict(
            name="cosine_plan",
            epochs=epochs,
            batch_size=4 * examples_of_a_node,
            learning_rate=0.05,
            momentum=0.9,
        ),
        arms=arms,
        seeds=seeds,
        tuning=tuning,
    )


def digits():
    """Digits: 8 examples per node and update; 2 updates per epoch with 64 nodes."""
    return _experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="mlp", hidden_sizes=(64,)),
        epochs=40,
        examples_of_a_node=8,
        seeds=8,
    )


def mnist(tuning=False):
    """MNIST: 32 examples per node and update; 29 updates per epoch with 64 nodes."""
    return _experiment(
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="small_cnn", width=8),
        epochs=5,
        examples_of_a_node=32,
        seeds=1 if tuning else 3,
        tuning=tuning,
    )


get_config = common.variants(digits=digits, mnist=mnist)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    if variant == "mnist_tuning":
        return []  # tuning makes no claims
    few, many = min(_RATES[variant or "digits"]), max(_RATES[variant or "digits"])
    source = f"{PAPER['citation']}, abstract and section 4"
    claims = []
    for method in ("gossip", "elastic"):
        words = _METHODS[method][0]
        claims += [
            dict(
                name=f"{method}_{few}_keeps_accuracy",
                statement=f"With {few} nodes {words} has the test accuracy of an all-reduce after "
                "the same epochs.",
                source=source,
                tag="secondary",
                test="not_worse",
                arm=f"{method}_{few}",
                baseline=f"all_reduce_{few}",
                margin=0.01,
            ),
            dict(
                name=f"{method}_{many}_loses_accuracy",
                statement=f"With {many} nodes {words} has a lower test accuracy than an all-reduce "
                "after the same epochs.",
                source=source,
                tag="secondary",
                test="worse",
                arm=f"{method}_{many}",
                baseline=f"all_reduce_{many}",
            ),
            dict(
                name=f"{method}_{many}_is_further_apart",
                statement=f"With {many} nodes those of {words} are further from their mean at the "
                f"end than with {few}.",
                source=source,
                tag="recalled",
                test="worse",
                arm=f"{method}_{many}",
                baseline=f"{method}_{few}",
                metric="consensus_distance",
            ),
        ]
    return claims
