"""The callbacks of a run, in the order in which they act."""

import keras

from lbkeras.callbacks.batch_size_scheduler import BatchSizeScheduler
from lbkeras.callbacks.progress_bar import ProgressBar
from lbkeras.callbacks.stop_on_nan import StopOnNaN
from lbkeras.callbacks.tensorboard import TensorBoardScalars
from lbkeras.callbacks.training_statistics import TrainingStatistics
from lbkeras.methods.batch_statistics.average_statistics import AverageStatistics
from lbkeras.runs.history_writer import HistoryWriter
from lbkeras.runs.run_spec import RunSpec, hyper_parameters
from lbkeras.runs.train_section import values_of


def callback_list(run: RunSpec, plan, train_data, chosen: list, micro_batches) -> list:
    """Returns all callbacks of a run except those for checkpoints and signals.

    Args:
        run: the run.
        plan: its Plan.
        train_data: its training Pipeline.
        chosen: the callbacks that its config names.
        micro_batches: its `MicroBatches`; with nodes it is used only if the user gives a size.
    """
    nodes = run.task.num_nodes
    averages = values_of(run.task.settings)["ema_momentum"]
    batch_size = [each for each in chosen if getattr(each, "owns_batch_size", False)]
    return [
        StopOnNaN(),
        *(batch_size or [BatchSizeScheduler(train_data, plan)]),
        *([] if nodes and not run.micro_batch_size else [micro_batches]),
        *([keras.callbacks.SwapEMAWeights()] if averages else []),
        AverageStatistics(),
        *(each for each in chosen if each not in batch_size),
        TrainingStatistics(train_data),
        *(_of_nodes() if nodes else []),
        HistoryWriter(run.folder / "history.jsonl"),
        TensorBoardScalars(run.folder / "tensorboard", hyper_parameters(run)),
        ProgressBar(train_data, run.title, run.seconds_between_lines),
    ]


def _of_nodes() -> list:
    from lbkeras.methods.decentralized.consensus_distance import ConsensusDistance

    return [ConsensusDistance()]
