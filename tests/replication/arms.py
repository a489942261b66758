"""Claims about two arms, and values of their seeds."""

import numpy as np

from lbkeras.replication import Claim

EXAMPLE = 1 / 360


def by_seed(values):
    return dict(enumerate(values))


def claim(test, metric="val_accuracy", **settings):
    return Claim("c", "A claim.", test, "b", "a", metric=metric, **settings)


def runs(random, rounds, seeds, difference=0.0, examples=None):
    """Accuracies of two arms that share each seed's effect; in whole examples with `examples`."""
    shared = 0.008 * random.standard_normal((rounds, seeds))
    arms = [
        0.94 + shared + mean + 0.004 * random.standard_normal((rounds, seeds))
        for mean in (difference, 0.0)
    ]
    if examples:
        arms = [np.round(values * examples) / examples for values in arms]
    return zip(*([by_seed(values) for values in arm.tolist()] for arm in arms), strict=True)
