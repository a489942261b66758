"""Layers that large-batch papers need and Keras lacks, and what puts them into models."""

from lbkeras.layers.batch_normalization_without_moving_averages import (
    BatchNormalizationWithoutMovingAverages,
)
from lbkeras.layers.ghost_batch_normalization import GhostBatchNormalization
from lbkeras.layers.ghosting import with_ghost_batch_normalization
from lbkeras.layers.hadamard_classifier import HadamardClassifier
from lbkeras.layers.recompute_statistics import recompute_statistics
from lbkeras.layers.shake_drop import ShakeDrop

__all__ = [
    "BatchNormalizationWithoutMovingAverages",
    "GhostBatchNormalization",
    "HadamardClassifier",
    "ShakeDrop",
    "recompute_statistics",
    "with_ghost_batch_normalization",
]
