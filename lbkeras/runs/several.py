"""Trains the runs of a comparison one after another, and prints the outcome of each."""

import time
from collections.abc import Callable, Sequence

from lbkeras import metrics
from lbkeras.derived import derived, is_target
from lbkeras.planning import durations
from lbkeras.runs import training
from lbkeras.runs.record import read_run
from lbkeras.runs.run_spec import RunSpec

SECONDS_BETWEEN_LINES = 30.0  # of progress inside a run


def check_folders(runs: Sequence[RunSpec]) -> list[str | None]:
    """Returns each run's `training.has_ended`; call it before anything is written.

    Raises:
        UserError: a folder belongs to another run.
    """
    return [training.has_ended(run) for run in runs]


def train_all(
    runs: Sequence[RunSpec],
    ended: Sequence[str | None],
    workers=None,
    before_each: Callable[[], None] = lambda: None,
) -> None:
    """Trains the runs that have not ended; a run that diverges does not stop the others.

    Args:
        runs: the runs in the order in which they are trained.
        ended: what `check_folders` returned for them.
        workers: as for `training.train`.
        before_each: called before each run.

    Raises:
        UserError: as `training.train`.
    """
    if workers is not None:
        workers.share(list(ended))
    estimate = _TimeLeft(ended.count(None))
    for run, status in zip(runs, ended, strict=True):
        if status:
            print(f"{run.title}: already {status}", flush=True)
            continue
        before_each()
        begin = time.monotonic()
        what = train_one(run, workers)
        left = estimate.after_run(time.monotonic() - begin)
        print(f"{run.title}: {what}{left}", flush=True)


def train_one(run: RunSpec, workers=None) -> str:
    """Trains a run and returns its outcome in words; empty in workers other than the chief."""
    from lbkeras.callbacks.stop_on_nan import Diverged

    try:
        training.train(run, workers)
    except Diverged as error:
        return f"diverged: {error}"
    return outcome(run) if workers is None or workers.is_chief else ""


def outcome(run: RunSpec) -> str:
    """Describes what a finished run reached, from its record."""
    folder, metric = read_run(run.folder), metrics.of(run.metric)
    reached, updates, seconds = map(folder.value, (run.metric, "updates", "seconds"))
    if reached is None:
        shown = "not defined" if derived(run.metric) else "not finite"
        shown = "not reached" if is_target(run.metric) else shown
    elif metric.is_share:
        shown = f"{100 * reached:.2f} %"
    else:
        shown = f"{reached:,.0f}" if reached >= 1000 else f"{reached:.4g}"
    return f"{metric.label} {shown} after {updates:,} updates, {seconds:.1f} s of training"


class _TimeLeft:
    """Estimates the time left from the mean time of this process' runs."""

    def __init__(self, runs: int):
        self._left = runs
        self._done = 0
        self._seconds = 0.0

    def after_run(self, seconds: float) -> str:
        """Returns the estimate in brackets after a run of `seconds`; empty after the last run."""
        self._left -= 1
        self._done += 1
        self._seconds += seconds
        if not self._left:
            return ""
        return f" (about {durations.in_words(self._seconds / self._done * self._left)} left)"
