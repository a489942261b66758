"""Keras callbacks: the batch size, the record of a run, checkpoints, TensorBoard."""

from lbkeras.callbacks.ada_scale import AdaScale
from lbkeras.callbacks.adaptive_batch_size import AdaptiveBatchSize
from lbkeras.callbacks.auto_wu import AutoWU
from lbkeras.callbacks.average_statistics import AverageStatistics
from lbkeras.callbacks.batch_size_scheduler import BatchSizeScheduler
from lbkeras.callbacks.checkpoint import Checkpoint
from lbkeras.callbacks.consensus_distance import ConsensusDistance
from lbkeras.callbacks.gradient_noise_scale import GradientNoiseScale
from lbkeras.callbacks.history_writer import HistoryWriter
from lbkeras.callbacks.last_batch_statistics import LastBatchStatistics
from lbkeras.callbacks.mean_of_nodes import MeanOfNodes
from lbkeras.callbacks.micro_batches import MicroBatches
from lbkeras.callbacks.progress_bar import ProgressBar
from lbkeras.callbacks.sharpness import Sharpness
from lbkeras.callbacks.stop_on_nan import Diverged, StopOnNaN
from lbkeras.callbacks.stop_on_signal import Interrupted, StopOnSignal
from lbkeras.callbacks.tensorboard import TensorBoardScalars
from lbkeras.callbacks.training_statistics import TrainingStatistics

__all__ = [
    "AdaptiveBatchSize",
    "AdaScale",
    "AutoWU",
    "AverageStatistics",
    "BatchSizeScheduler",
    "Checkpoint",
    "ConsensusDistance",
    "Diverged",
    "GradientNoiseScale",
    "HistoryWriter",
    "Interrupted",
    "LastBatchStatistics",
    "MeanOfNodes",
    "MicroBatches",
    "ProgressBar",
    "Sharpness",
    "StopOnNaN",
    "StopOnSignal",
    "TensorBoardScalars",
    "TrainingStatistics",
]
