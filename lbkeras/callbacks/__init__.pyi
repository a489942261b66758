from lbkeras.callbacks.batch_size_scheduler import BatchSizeScheduler as BatchSizeScheduler
from lbkeras.callbacks.checkpoint import Checkpoint as Checkpoint
from lbkeras.callbacks.progress_bar import ProgressBar as ProgressBar
from lbkeras.callbacks.stop_on_nan import Diverged as Diverged
from lbkeras.callbacks.stop_on_nan import StopOnNaN as StopOnNaN
from lbkeras.callbacks.stop_on_signal import Interrupted as Interrupted
from lbkeras.callbacks.stop_on_signal import StopOnSignal as StopOnSignal
from lbkeras.callbacks.tensorboard import TensorBoardScalars as TensorBoardScalars
from lbkeras.callbacks.training_statistics import TrainingStatistics as TrainingStatistics
from lbkeras.methods.ada_scale.callback import AdaScale as AdaScale
from lbkeras.methods.adaptive_batch_size.callback import AdaptiveBatchSize as AdaptiveBatchSize
from lbkeras.methods.auto_wu.callback import AutoWU as AutoWU
from lbkeras.methods.batch_statistics.average_statistics import (
    AverageStatistics as AverageStatistics,
)
from lbkeras.methods.batch_statistics.last_batch_statistics import (
    LastBatchStatistics as LastBatchStatistics,
)
from lbkeras.methods.concurrent_adversarial.adversarial_accuracy import (
    AdversarialAccuracy as AdversarialAccuracy,
)
from lbkeras.methods.concurrent_adversarial.callback import (
    ConcurrentAdversarial as ConcurrentAdversarial,
)
from lbkeras.methods.decentralized.consensus_distance import ConsensusDistance as ConsensusDistance
from lbkeras.methods.micro_batches.callback import MicroBatches as MicroBatches
from lbkeras.methods.noise_scale.callback import GradientNoiseScale as GradientNoiseScale
from lbkeras.methods.sharpness.callback import Sharpness as Sharpness
from lbkeras.runs.history_writer import HistoryWriter as HistoryWriter
