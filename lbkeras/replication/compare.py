"""`lbkeras.compare`: trains a user's model in several arms and seeds, then reports."""

import base64
import dataclasses
import html
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lbkeras import checks, files
from lbkeras.derived import FORMS, column_of, derived
from lbkeras.errors import UserError, unknown_name
from lbkeras.keras_internals.backend_start import load_backend
from lbkeras.metrics import HIGHER, VALIDATION
from lbkeras.metrics import targets as targets_of
from lbkeras.planning.plan import Plan
from lbkeras.planning.replicas import check_replicas
from lbkeras.replication.default_claims import MARGIN, default_claims
from lbkeras.replication.replication_folder import (
    check_no_run,
    read_replication,
    write_replication,
)
from lbkeras.replication.report import write_report
from lbkeras.replication.terminal import format_table
from lbkeras.runs import run_lock
from lbkeras.runs.run_spec import RunSpec
from lbkeras.runs.several import SECONDS_BETWEEN_LINES, check_folders, train_all
from lbkeras.terminal_text import terminal_width, wrapped

_KEYS = ("plan", "callbacks", "make_model")
_COMMAND = "lbkeras.compare(...)"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The result of `compare`; prints as a table with verdicts, in a notebook with pictures.

    Attributes:
        workdir: the folder with the runs, report.md, report.json and plots/.
        report: the content of report.json.
    """

    workdir: Path
    report: dict[str, Any] = dataclasses.field(repr=False)

    @property
    def pictures(self) -> list[Path]:
        """The pictures of the report."""
        return sorted((self.workdir / "plots").glob("*.png"))

    def __str__(self) -> str:
        width = terminal_width()
        arms = [f"{name}: {arm['description']}" for name, arm in self.report["arms"].items()]
        described = [wrapped(line, width, "    ") for line in arms]
        report = wrapped(f"report: {self.workdir / 'report.md'}", width)
        return "\n".join([format_table(self.report, width), *described, report])

    def _repr_html_(self) -> str:
        images = [
            '<img style="max-width: 100%" src="data:image/png;base64,'
            f'{base64.b64encode(picture.read_bytes()).decode()}" alt="{html.escape(picture.stem)}">'
            for picture in self.pictures
        ]
        text = f'<pre style="font-family: monospace">{html.escape(str(self))}</pre>'
        return "\n".join([text, *images])


def compare(
    make_model: Callable[[], Any],
    train: Any,
    test: Any,
    *,
    arms: Mapping[str, Any],
    workdir: Path | str,
    seeds: int = 3,
    metric: str | None = None,
    margin: float | None = None,
    targets: Mapping[str, float] | None = None,
    strategy: str = "auto",
) -> Comparison:
    """Trains a model with several plans and several seeds each, and compares the results.

    The first arm is the baseline. The report gives the other arms' updates and time relative to it,
    and a verdict on whether their metric is no worse, at a significance level of 5 % after Holm's
    correction.

    Each arm and seed is a run in `workdir/ARM/seed_N` with the files of `lbkeras replicate`. A call
    with the same arguments resumes: finished runs are kept, and an interrupted run continues where
    it stopped. A plan's learning rates and momentum replace those that `make_model` compiles with.

    Args:
        make_model: returns a new compiled `keras.Model`, functional or subclassed, at each call;
            any loss and metrics.
        train: a `lbkeras.data.Pipeline`, or a source for one, such as `(x, y)`.
        test: the data to evaluate on after each epoch; of the same kinds as `train`.
        arms: a dict from each arm's name to its settings: a `Plan`; a function that takes the arm's
            own Pipeline and returns a list of callbacks; or a dict with any of `plan`, `callbacks`
            (such a function) and `make_model` (in place of the common one). An arm without a plan
            uses the first Plan among the arms; at least one arm must have one.
        workdir: a folder for this comparison.
        seeds: the number of seeds for each arm, 0 to `seeds - 1`; at least 2 for a verdict.
        metric: the metric to compare, by its name in the history, or a value derived from it
            (`val_accuracy_median_of_last_5`); None: `val_accuracy` if it is measured, else the
            first metric whose better direction Keras knows, else `val_loss`.
        margin: how much worse than the first arm's mean still counts as no worse, in the metric's
            unit, above 0. None: 0.01 if more is better (accuracy, AUC, F1); if less is better, the
            first arm's mean divided by the arm's must be at least 0.95.
        targets: values to reach, such as `{"val_accuracy": 0.95}`: the report says how many
            updates, epochs and seconds of training each run took until the first evaluation that
            reached it. The name for `metric` is `"updates_to_val_accuracy_at_least_0.95"`,
            `"epochs_to_..."` or `"seconds_to_..."`, with `at_most` if less is better.
        strategy: a name for `lbkeras.distribution.strategy`.

    Raises:
        UserError: an argument is unusable, which is found before anything is trained; or the
            folder belongs to another model, optimizer, arm or data set.
        Interrupted: Ctrl-C; a checkpoint has been written.

    Example, with your own `make_model`, `train`, `test` and two plans:

        arms = {"small": plan_32, "large": plan_256}
        result = lbkeras.compare(make_model, train, test, arms=arms, workdir="runs/mine")
        print(result)
    """
    if load_backend() == "tensorflow":
        _check_outside_of_a_scope()
    from lbkeras.distribution.strategy import strategy as make_strategy
    from lbkeras.runs.python_task import as_test_data, as_training_data

    train, test = as_training_data(train), as_test_data(test)
    margin = None if margin is None else checks.positive("margin", margin)
    folder = Path(checks.path("workdir", workdir))
    seeds = checks.integer("seeds", seeds, minimum=1)
    tasks = _tasks(make_model, train, test, arms)
    replicas = make_strategy(strategy).num_replicas_in_sync
    for name, task in tasks.items():
        try:
            check_replicas(task.plan, replicas)
            task.check()
        except UserError as error:
            raise UserError(f"arm {name}: {error}") from None
    runs = _runs(tasks, folder, seeds, strategy, _metric(tasks, metric)[0])
    names = targets_of(targets or {}, _directions(tasks))
    check_no_run(folder)
    with run_lock.locked(folder):
        replication = _replication(folder, tasks, seeds, metric, margin)
        replication["targets"] = names
        ended = check_folders(runs)
        write_replication(folder, replication)
        train_all(runs, ended)
        return Comparison(folder, write_report(folder))


def _check_outside_of_a_scope() -> None:
    import tensorflow as tf

    if tf.distribute.has_strategy():
        raise UserError(
            "strategy: expected lbkeras.compare outside of strategy.scope(), with strategy=NAME, "
            "received a call inside of it"
        )


def _tasks(make_model, train, test, arms) -> dict[str, Any]:
    from lbkeras.runs.own_model import OwnModel
    from lbkeras.runs.python_task import PythonTask

    if not isinstance(arms, Mapping) or not arms:
        raise UserError(f"arms: expected a dict of at least one arm, received {arms!r}")
    parts = {name: _parts(name, arm) for name, arm in arms.items()}
    plan = next((part["plan"] for part in parts.values() if "plan" in part), None)
    if plan is None:
        raise UserError(
            "arms: expected at least one with a Plan, which sets the number of epochs, received "
            "none; lbkeras.planning has functions that make one"
        )
    tasks, models = {}, {}  # arms with the same make_model share its trial
    for name, part in parts.items():
        make = part.get("make_model", make_model)
        model = models.setdefault(id(make), OwnModel(make, train, test))
        try:
            tasks[name] = PythonTask(
                model, train, test, part.get("plan", plan), part.get("callbacks")
            )
        except UserError as error:
            raise UserError(f"arm {name}: {error}") from None
    return tasks


def _parts(name, arm) -> dict[str, Any]:
    """Returns an arm as a dict of its parts."""
    usable = isinstance(name, str) and files.is_file_name(name) and "." not in name
    if not usable or name == "plots":
        raise UserError(f"arms: expected names that are valid folder names, received {name!r}")
    if isinstance(arm, Plan):
        return {"plan": arm}
    if callable(arm):
        return {"callbacks": arm}
    if not isinstance(arm, Mapping):
        raise UserError(
            f"arm {name}: expected a Plan, a function that takes a Pipeline and returns callbacks, "
            f"or a dict, received {arm!r}"
        )
    for key, value in arm.items():
        if key not in _KEYS:
            raise UserError(unknown_name(f"arm {name}", key, _KEYS))
        if not (isinstance(value, Plan) if key == "plan" else callable(value)):
            expected = "a Plan" if key == "plan" else "a function"
            raise UserError(f"arm {name}: {key}: expected {expected}, received {value!r}")
    return dict(arm)


def _runs(tasks, folder: Path, seeds: int, strategy: str, metric: str) -> list[RunSpec]:
    pairs = [(seed, arm) for seed in range(seeds) for arm in tasks]  # all arms start early
    return [
        RunSpec(
            task=tasks[arm],
            arm=arm,
            seed=seed,
            folder=folder / arm / f"seed_{seed}",
            config="",
            command=_COMMAND,
            strategy=strategy,
            title=f"[{number}/{len(pairs)}] {arm} seed {seed}",
            seconds_between_lines=SECONDS_BETWEEN_LINES,
            metric=metric,
        )
        for number, (seed, arm) in enumerate(pairs, start=1)
    ]


def _replication(folder: Path, tasks, seeds: int, metric: str | None, margin) -> dict[str, Any]:
    """Returns replication.json: what the report needs besides the runs."""
    before = read_replication(folder).get("arms")
    if before is not None and set(before) != set(tasks):
        raise UserError(
            f"workdir {folder}: expected the arms it was started with ({', '.join(before)}), "
            f"received {', '.join(tasks)}; use another workdir"
        )
    metric, better = _metric(tasks, metric)
    margin = MARGIN if margin is None and better == HIGHER else margin
    if better is None and margin is not None:
        raise UserError(
            f"margin: expected none for {metric}, as neither Keras nor lbkeras knows its better "
            f"direction, received {margin!r}"
        )
    losses = [task.settings["loss"] for task in tasks.values()]
    if metric == "val_loss" and any(loss != losses[0] for loss in losses):
        raise UserError(
            "metric: expected another metric, as the arms have different losses, received val_loss"
        )
    claims = default_claims(list(tasks), metric, better, margin) if better else []
    if len(tasks) == 1:
        print("no verdict, as there is one arm only: nothing to compare it with", flush=True)
    elif not claims:
        print(f"{metric}: no verdict, as its better direction is not known", flush=True)
    first = next(iter(tasks.values()))
    data, test = first.settings["data"], first.settings["test_data"]
    return {
        "title": f"{first.settings['model']['name']}: {' against '.join(tasks)}",
        "config": None,
        "variant": "",
        "command": _COMMAND,
        "paper": {},
        "dataset": f"{data['num_examples']:,} training examples",
        "dataset_description": f"{data['num_examples']:,} examples of {data['elements']} to train "
        f"on, {test['num_examples']:,} to evaluate on",
        "metric": metric,
        "seeds": list(range(seeds)),
        "seeds_in_config": list(range(seeds)),
        "arms": {
            name: {"description": _describe(task), "paper": {}} for name, task in tasks.items()
        },
        "claims": claims,
        "plans": {name: task.plan.to_dict() for name, task in tasks.items()},
    }


def _metric(tasks, metric: str | None) -> tuple[str, str | None]:
    """Returns the metric to compare, which every arm measures, and its better direction."""
    better = _directions(tasks)
    if metric is not None:
        if column_of(metric) not in better:
            raise UserError(unknown_name("metric", metric, [*better, *FORMS]))
        found = derived(metric)
        own_way = found.better if found else None
        return metric, own_way or better[column_of(metric)]
    known = [name for name, way in better.items() if way and name != "val_loss"]
    name = "val_accuracy" if "val_accuracy" in known else next(iter(known), "val_loss")
    return name, better[name]


def _directions(tasks) -> dict[str, str | None]:
    """Returns the better direction of each metric on test data that every arm measures."""
    first, *others = (task.trial.better for task in tasks.values())
    shared = {name: way for name, way in first.items() if all(name in each for each in others)}
    return {f"{VALIDATION}{name}": way for name, way in shared.items()}


def _describe(task) -> str:
    """Describes which of the compiled optimizer's settings the plan replaces."""
    replaced, first = task.trial.compiled, task.plan.phases[0]
    rate = replaced["learning_rate"]
    compiled = f"learning rate {rate:g}" if isinstance(rate, float) else rate
    planned = f"learning rate {first.learning_rate:g}"
    if replaced["momentum"] is not None:
        compiled += f" and momentum {replaced['momentum']:g}"
        planned += f" and momentum {first.momentum:g}"
    if compiled == planned:
        return f"{planned} at first, as compiled"
    return f"{planned} at first, from the plan, instead of the compiled {compiled}"
