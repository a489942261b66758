"""Decisions of several workers at the same step, by a tiny all-reduce."""

import functools
import time
from typing import Any

import numpy as np

_MOST_STEPS = 1000


def num_workers(strategy: Any) -> int:
    """Returns how many workers train under a strategy: 1 for None and for a single process."""
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None:
        return 1
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    jobs = resolver.cluster_spec().as_dict()
    return max(1, sum(len(jobs.get(job, ())) for job in ("chief", "worker")))


def worker_index(strategy: Any) -> int:
    """Returns this worker's index in the order of `gather`; 0 for a single process."""
    if num_workers(strategy) == 1:
        return 0
    resolver = strategy.cluster_resolver
    after_chief = resolver.task_type == "worker" and "chief" in resolver.cluster_spec().as_dict()
    return resolver.task_id + after_chief


def is_chief(strategy: Any) -> bool:
    """Whether this process writes the shared files: it is the only one, or the first worker."""
    return num_workers(strategy) == 1 or strategy.extended.should_checkpoint


def gather(strategy, values) -> np.ndarray:
    """Returns the numbers of all workers. All workers must call it at the same step.

    Costs an all-reduce of these numbers; nothing with one worker.

    Args:
        strategy: the model's strategy, or None.
        values: finite numbers, equally many in every worker.

    Returns:
        float64 of shape (workers, numbers), with the chief's first.
    """
    values = np.asarray(values, np.float64)
    workers = num_workers(strategy)
    if workers == 1:
        return values[None]
    rows = _all_gather(strategy)(values).numpy()
    return rows[:: strategy.num_replicas_in_sync // workers]


class Agreement:
    """Exchanges the largest number of any worker about once per second, at the same steps.

    It serves decisions that one worker's clock, or a signal to one worker, makes for all. The
    number of steps between two exchanges follows the pace of the slowest worker, which is exchanged
    too. Costs nothing with one worker.

    Args:
        strategy: the model's strategy, or None.
        seconds: approximate time between two exchanges.
    """

    def __init__(self, strategy, seconds: float = 1.0):
        self._strategy = strategy
        self._alone = num_workers(strategy) == 1
        self._seconds = seconds
        self._interval = 1  # calls between two exchanges
        self._calls = 0
        self._asked = time.monotonic()

    def largest(self, value: float, now: bool = False) -> float:
        """Returns the largest `value` of any worker, or 0.0 at calls without an exchange.

        Args:
            value: at least 0.
            now: whether to exchange at this call in any case.
        """
        if self._alone:
            return value
        self._calls += 1
        if self._calls < self._interval and not now:
            return 0.0
        moment = time.monotonic()
        seconds_a_call = (moment - self._asked) / self._calls
        largest, slowest = gather(self._strategy, [value, seconds_a_call]).max(axis=0)
        self._interval = int(np.clip(self._seconds / max(slowest, 1e-6), 1, _MOST_STEPS))
        self._calls, self._asked = 0, moment
        return float(largest)


@functools.lru_cache(maxsize=4)
def _all_gather(strategy):
    import tensorflow as tf

    def in_replica(values):
        context = tf.distribute.get_replica_context()
        replicas = strategy.num_replicas_in_sync
        place = tf.one_hot(context.replica_id_in_sync_group, replicas, dtype=tf.float64)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, place[:, None] * values)

    @tf.function
    def run(values):
        rows = strategy.run(in_replica, args=(values,))
        return strategy.experimental_local_results(rows)[0]

    return run
