"""Node shards: every example once, label shares as drawn, and pipelines that respect them."""

import numpy as np
import pytest

from lbkeras.data import Pipeline
from lbkeras.data.order import order_of_parts
from lbkeras.errors import UserError
from lbkeras.methods.decentralized.node_shards import shard_by_label

LABELS = np.random.default_rng(0).integers(10, size=1003)


@pytest.mark.parametrize("concentration", [None, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("num_nodes", [1, 4, 16])
def test_equal_parts_without_overlap(concentration, num_nodes):
    parts = shard_by_label(LABELS, num_nodes, concentration, seed=3)
    assert parts.shape == (num_nodes, 1003 // num_nodes)
    assert len(set(parts.ravel().tolist())) == parts.size
    assert parts.min() >= 0 and parts.max() < 1003
    np.testing.assert_array_equal(parts, shard_by_label(LABELS, num_nodes, concentration, seed=3))
    assert np.any(parts != shard_by_label(LABELS, num_nodes, concentration, seed=4))


def labels_of_a_node(concentration):
    """Returns the effective number of labels per node, exp(entropy), on average."""
    numbers = []
    for part in shard_by_label(LABELS, 10, concentration):
        shares = np.bincount(LABELS[part], minlength=10) / len(part)
        numbers.append(np.exp(-np.sum(shares * np.log(np.maximum(shares, 1e-30)))))
    return np.mean(numbers)


def test_a_low_concentration_leaves_few_labels():
    few, some, all_of_them = (labels_of_a_node(c) for c in (0.1, 1.0, None))
    assert few < 4 < some < 8.5 < 9 < all_of_them <= 10


@pytest.mark.parametrize("batch_size", [8, 12])
def test_a_batch_has_each_nodes_rows_in_its_place(batch_size):
    parts = shard_by_label(LABELS[:100], 4)
    seen = []
    for epoch in range(2):
        order = order_of_parts(parts, batch_size, seed=1, epoch=epoch)
        assert sorted(order) == sorted(parts.ravel())
        steps, of_node = 100 // batch_size, batch_size // 4
        whole = order[: steps * batch_size].reshape(steps, 4, of_node)
        for i in range(4):
            assert set(whole[:, i].ravel()) <= set(parts[i])
        seen.append(order)
    assert np.any(seen[0] != seen[1])
    np.testing.assert_array_equal(seen[0], order_of_parts(parts, batch_size, 1, 0))


def test_each_node_is_shuffled_independently():
    """The places of node i's rows say nothing about the places of node j's rows."""
    parts = np.arange(4 * 25).reshape(4, 25)
    of_node = order_of_parts(parts, 4, seed=1, epoch=0).reshape(25, 4).T % 25
    np.testing.assert_array_equal(np.sort(of_node), np.tile(np.arange(25), (4, 1)))
    for i in range(4):
        for j in range(i):
            same = np.count_nonzero(of_node[i] == of_node[j])
            assert same < 7, (i, j, same)  # Poisson of mean 1: 8e-5 for 7 or more


def test_a_pipeline_respects_the_parts():
    x = np.arange(103)
    train = Pipeline((x, x % 10), 20)
    parts = shard_by_label(train.labels(), 4, concentration=0.1)
    train.set_node_shards(parts)
    assert train.num_examples == 100 and train.steps_per_epoch == 5
    batches = [batch.numpy().reshape(4, 5) for batch, _ in train.dataset(epoch=2)]
    for i in range(4):
        assert {row for batch in batches for row in batch[i]} == set(parts[i])
    later = [batch.numpy() for batch, _ in train.dataset(epoch=2, start_step=3)]
    np.testing.assert_array_equal(np.concatenate(later), np.concatenate(batches[3:]).ravel())


def test_new_parts_replace_the_old():
    x = np.arange(40)
    train = Pipeline((x, x), 8)
    parts = x.reshape(4, 10)
    for each in (parts, parts[::-1]):
        train.set_node_shards(each)
        batch = next(iter(train.get_tf_dataset()))[0].numpy().reshape(4, 2)
        assert all(set(rows) <= set(part) for rows, part in zip(batch, each, strict=True))


def test_messages():
    with pytest.raises(UserError, match="^num_nodes: expected 1 to 3 .examples., received 4"):
        shard_by_label([0, 1, 2], 4)
    with pytest.raises(UserError, match="^concentration: expected a number above 0 or none, .* 0"):
        shard_by_label([0, 1, 2], 2, concentration=0)
    parts = shard_by_label(np.arange(12), 4)
    with pytest.raises(
        UserError, match="^batch_size: expected a multiple of the 4 nodes, receiv.*"
    ):
        order_of_parts(parts, 6, 0, 0)
    x = np.arange(10)
    with pytest.raises(UserError, match="^parts: expected rows below 10 of shape"):
        Pipeline((x, x), 4).set_node_shards(parts)
    with pytest.raises(UserError, match="^parts: expected shuffled data in memory"):
        Pipeline((x, x), 4, shuffle=False).set_node_shards(parts)
    with pytest.raises(UserError, match="^batch_size: expected 1 to 8"):
        Pipeline((x, x), 9).set_node_shards(np.arange(8).reshape(4, 2))
