"""Evaluates and keeps the mean of replicas that have weights of their own."""

import keras

from lbkeras import checks
from lbkeras.methods.decentralized.replica_nodes import components, mean_over_replicas


class MeanOfNodes(keras.callbacks.Callback):
    """Gives every replica the mean of all replicas' weights, for evaluation and at the end.

    For a decentralized optimizer under a strategy with several replicas, each of which is a node:
    without this, validation mixes the nodes' results and `model.save` writes the first one's
    weights. Before an evaluation inside `fit` the nodes' weights are set aside and put back after
    it; when `fit` ends all nodes stay at the mean. Without several replicas it does nothing:
    `lbkeras.trainers.StackedNodes` evaluates its mean by itself. A checkpoint that is written
    during `fit` (by `Checkpoint` or Keras' own) holds the first replica's weights only.

    Costs two copies of the weights and an all-reduce an evaluation.

    Args:
        keep: leave the mean in all replicas when `fit` ends. False: leave each its own weights.

    >>> callback = MeanOfNodes()
    """

    def __init__(self, keep: bool = True):
        super().__init__()
        self.keep = checks.flag("keep", keep)
        self._own = None

    def on_test_begin(self, logs=None):
        if self._replicas() > 1:
            self._own = [[part.numpy() for part in parts] for parts in self._parts()]
            self._take_mean()

    def on_test_end(self, logs=None):
        if self._own is not None:
            for parts, values in zip(self._parts(), self._own, strict=True):
                for part, value in zip(parts, values, strict=True):
                    part.assign(value)
            self._own = None

    def on_train_end(self, logs=None):
        if self.keep and self._replicas() > 1:
            self._take_mean()

    def _replicas(self) -> int:
        return self.model.distribute_strategy.num_replicas_in_sync

    def _parts(self):
        strategy = self.model.distribute_strategy
        return [components(strategy, variable) for variable in self.model.trainable_variables]

    def _take_mean(self):
        strategy = self.model.distribute_strategy
        means = mean_over_replicas(strategy, self.model.trainable_variables)
        for parts, mean in zip(self._parts(), means, strict=True):
            for part in parts:
                part.assign(mean)
