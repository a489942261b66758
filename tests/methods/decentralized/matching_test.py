"""Random pairs: a matching in each step, a pure function, all pairs equally often."""

import numpy as np
import pytest

from lbkeras.methods.decentralized.matching import random_matching


@pytest.mark.parametrize("num_nodes", [1, 2, 3, 8, 9])
def test_partners_are_mutual_and_at_most_one_stays_alone(num_nodes):
    for step in range(50):
        partner = random_matching(num_nodes, seed=3, step=step)
        np.testing.assert_array_equal(partner[partner], np.arange(num_nodes))
        assert np.sum(partner == np.arange(num_nodes)) == num_nodes % 2


def test_pure_in_seed_and_step():
    np.testing.assert_array_equal(random_matching(16, -5, 9), random_matching(16, -5, 9))
    pairs = [tuple(random_matching(16, seed, step)) for seed in (0, 1) for step in range(20)]
    assert len(set(pairs)) == 40


def test_every_pair_is_equally_probable():
    counts = np.zeros((6, 6))
    steps = 5000
    for step in range(steps):
        counts[np.arange(6), random_matching(6, 0, step)] += 1
    assert np.all(np.diag(counts) == 0)
    off = counts[~np.eye(6, dtype=bool)] / steps
    deviation = np.sqrt(0.2 * 0.8 / steps)
    assert np.all(abs(off - 0.2) < 5 * deviation)
