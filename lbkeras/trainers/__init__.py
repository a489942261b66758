"""Train steps: a batch in micro-batches, nodes that average with neighbours."""

from lbkeras.trainers.gradient_statistics import GradientStatistics
from lbkeras.trainers.loss_of_weights import LossOfWeights
from lbkeras.trainers.micro_batches import check_micro_batch_size, micro_batch_train_step
from lbkeras.trainers.stacked_nodes import StackedNodes
from lbkeras.trainers.step_record import StepRecord
from lbkeras.trainers.update_progress import UpdateProgress

__all__ = [
    "GradientStatistics",
    "LossOfWeights",
    "StackedNodes",
    "StepRecord",
    "UpdateProgress",
    "check_micro_batch_size",
    "micro_batch_train_step",
]
