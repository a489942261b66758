"""Keras callbacks: the batch size, the record of a run, checkpoints, TensorBoard."""

from lbkeras.callbacks.batch_size_scheduler import BatchSizeScheduler
from lbkeras.callbacks.checkpoint import Checkpoint
from lbkeras.callbacks.history_writer import HistoryWriter
from lbkeras.callbacks.progress_bar import ProgressBar
from lbkeras.callbacks.stop_on_nan import Diverged, StopOnNaN
from lbkeras.callbacks.stop_on_signal import Interrupted, StopOnSignal
from lbkeras.callbacks.tensorboard import TensorBoardScalars
from lbkeras.callbacks.training_statistics import TrainingStatistics

__all__ = [
    "BatchSizeScheduler",
    "Checkpoint",
    "Diverged",
    "HistoryWriter",
    "Interrupted",
    "ProgressBar",
    "StopOnNaN",
    "StopOnSignal",
    "TensorBoardScalars",
    "TrainingStatistics",
]
