from lbkeras.methods.decentralized.stacked_nodes import StackedNodes as StackedNodes
from lbkeras.methods.micro_batches.train_step import (
    check_micro_batch_size as check_micro_batch_size,
)
from lbkeras.methods.micro_batches.train_step import (
    micro_batch_train_step as micro_batch_train_step,
)
from lbkeras.methods.micro_batches.update_progress import UpdateProgress as UpdateProgress
from lbkeras.methods.noise_scale.statistics import GradientStatistics as GradientStatistics
from lbkeras.methods.sharpness.flat_loss import FlatLoss as FlatLoss
