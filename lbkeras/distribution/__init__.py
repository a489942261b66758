"""Where a model trains: tf.distribute strategies by name."""

from lbkeras.distribution.strategy import STRATEGIES, strategy

__all__ = ["STRATEGIES", "strategy"]
