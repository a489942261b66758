"""The advisor: trains an arm of a config briefly, measures, and recommends a plan with reasons."""

import dataclasses
import html

from lbkeras.advice.measure import FEWEST_EPOCHS, measure
from lbkeras.advice.plan import MeasuredEpoch, advised_plan
from lbkeras.advice.predict import fit_times, predicted_seconds
from lbkeras.advice.probe import Probe, probe_batch_sizes
from lbkeras.advice.tables import format_advice
from lbkeras.advice.words import format_reasons, reasons
from lbkeras.errors import UserError
from lbkeras.keras_internals.backend_start import load_backend
from lbkeras.planning.explicit_plan import explicit_plan
from lbkeras.planning.plan import Plan
from lbkeras.runs import build, experiment
from lbkeras.terminal_text import terminal_width

_FEWEST_EXAMPLES = 64  # a probe of the noise scale takes 4 batches of 8 pieces of 2 examples
_SIMILAR = 8  # batch sizes within this factor are tried with the same steps_per_execution


@dataclasses.dataclass(frozen=True)
class Advice:
    """The measurements and the recommended plan. Printing it shows both plans and the reasons.

    Attributes:
        baseline: the present plan.
        plan: the recommended plan; equal to `baseline` if no better one was found.
        measured: the measured epochs.
        probes: a Probe for each batch size of both plans.
        baseline_seconds, seconds: predicted for each phase of the two plans, without evaluation.
        clipping: how the optimizer clips gradients, such as "global_clipnorm=1.0"; "": it doesn't.
        gain_power: 1 or 0.5; the learning rate grows by this power of AdaScale's gain.
    """

    baseline: Plan
    plan: Plan
    measured: list[MeasuredEpoch]
    probes: dict[int, Probe]
    baseline_seconds: list[float]
    seconds: list[float]
    clipping: str = ""
    gain_power: float = 1.0

    def __str__(self) -> str:
        width = terminal_width()
        table = format_advice(self, width=width)
        return f"{table}\n\n{format_reasons(reasons(self), width)}"

    def _repr_html_(self) -> str:
        return f'<pre style="font-family: monospace">{html.escape(str(self))}</pre>'


def check_arm(settings: dict, arm: str) -> None:
    """Checks that the advisor can measure an arm, before TensorFlow is loaded.

    Raises:
        UserError: a callback sets the arm's batch size or learning rate, its training is
            decentralized, its plan is too short, or it has too few examples.
    """
    if experiment.num_nodes(settings):
        raise UserError(
            f"--arm: expected an arm that trains one model, received {arm!r} with "
            f"optimizer.num_nodes={settings['optimizer']['num_nodes']}, one model per node; --auto "
            "does not support decentralized training"
        )
    plan = experiment.make_plan(settings)
    check_length(plan, epochs="plan", num_examples="data.num_examples")
    if settings.get("callbacks"):
        _check_callbacks(settings, arm)


def check_length(plan: Plan, *, epochs: str, num_examples: str) -> None:
    """Checks that a plan has enough epochs and examples for the measurement.

    Args:
        plan: the present plan.
        epochs, num_examples: the user's names for them.

    Raises:
        UserError: it has too few.
    """
    if plan.epochs <= FEWEST_EPOCHS:
        raise UserError(
            f"{epochs}: expected more than the {FEWEST_EPOCHS} epochs that are measured at least, "
            f"received {plan.epochs}"
        )
    if plan.num_examples < _FEWEST_EXAMPLES:
        raise UserError(
            f"{num_examples}: expected at least {_FEWEST_EXAMPLES} examples to measure the noise "
            f"scale, received {plan.num_examples}"
        )


def advise(
    task,
    strategy: str,
    budget_mb: float | None = None,
    say=print,
) -> Advice:
    """Measures an arm and recommends a plan.

    Trains with the arm's model, data, optimizer and learning rates under `AdaptiveBatchSize`,
    starting from its first batch size, for a quarter of the epochs. That is at least 2 epochs, and
    at most about a minute unless 2 epochs take longer. Then tries the batch sizes of both plans.
    Writes no files.

    Args:
        task: what to train: a `ConfigTask` of an arm that `check_arm` accepts, or a `PythonTask`.
        strategy: a name for `lbkeras.distribution.strategy`.
        budget_mb: as for `probe_batch_sizes`.
        say: called with one line before each part that takes long.

    Raises:
        UserError: a setting or data set is not usable, there is not enough memory, or the loss is
            not finite.
    """
    baseline = task.plan
    found = measure(task, baseline, strategy, say)
    plan = advised_plan(baseline, found.epochs, found.gain_power)
    sizes = sorted({phase.batch_size for each in (baseline, plan) for phase in each.phases})
    probes = {}
    for group in similar_sizes(sizes):
        one_size = _one_size(baseline, group[0])
        probes |= probe_batch_sizes(task, one_size, group, strategy, budget_mb, say)
    times = fit_times(
        baseline.num_examples, found.epochs, probes, found.epoch_overhead_seconds, found.compiles
    )
    return Advice(
        baseline=baseline,
        plan=plan,
        measured=found.epochs,
        probes=probes,
        baseline_seconds=predicted_seconds(baseline, probes, times),
        seconds=predicted_seconds(plan, probes, times),
        clipping=found.clipping,
        gain_power=found.gain_power,
    )


def similar_sizes(sizes: list[int]) -> list[list[int]]:
    """Groups increasing batch sizes within a factor of 8, whose calls take similar times.

    >>> similar_sizes([8, 32, 64, 128, 4096])
    [[8, 32, 64], [128], [4096]]
    """
    groups = []
    for size in sizes:
        if not groups or size > _SIMILAR * groups[-1][0]:
            groups.append([])
        groups[-1].append(size)
    return groups


def _check_callbacks(settings: dict, arm: str) -> None:
    load_backend()
    for attribute, what in (
        ("owns_batch_size", "batch size"),
        ("owns_learning_rate", "learning rate"),
    ):
        for name in build.owners(settings, attribute):
            raise UserError(
                f"--arm: expected an arm whose plan sets the {what}, received {arm!r}, where "
                f"callbacks.{name} sets it during training"
            )


def _one_size(baseline: Plan, batch_size: int) -> Plan:
    """Returns a plan with this batch size alone; only its number of steps matters."""
    phase = dict(first_epoch=0, epochs=1, batch_size=batch_size, learning_rate=1e-3)
    phases = (phase | dict(momentum=baseline.phases[0].momentum),)
    return explicit_plan(phases=phases, num_examples=baseline.num_examples)
