"""The advisor: measures an arm of a config for a while, and recommends a plan, with reasons."""

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

_FEWEST_EXAMPLES = 64  # a probe of the noise scale is 4 batches of 8 pieces of 2 examples
_SIMILAR = 8  # sizes within such a factor are tried with the same steps_per_execution


@dataclasses.dataclass(frozen=True)
class Advice:
    """What was measured, and the plan that follows from it; printed, in words with its reasons.

    Attributes:
        baseline: the arm's plan.
        plan: the recommended one; the same where nothing better is known.
        measured: the epochs that were measured.
        probes: a Probe for each batch size of both plans.
        baseline_seconds, seconds: predicted for each phase of both plans, evaluation left out.
        clipping: how the optimizer clips gradients, such as "global_clipnorm=1.0"; "": it doesn't.
        gain_power: of AdaScale's gain, that the learning rate grows by: 1 or 0.5.
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
        return f"{format_advice(self)}\n\n{format_reasons(reasons(self))}"

    def _repr_html_(self) -> str:
        return f'<pre style="font-family: monospace">{html.escape(str(self))}</pre>'


def check_arm(settings: dict, arm: str) -> None:
    """Refuses an arm that the advisor cannot measure, before TensorFlow is loaded.

    Raises:
        UserError: a callback sets the arm's batch size or learning rate, it trains decentralized,
            its plan is too short, its data are too few.
    """
    if experiment.num_nodes(settings):
        raise UserError(
            f"--arm: expected one that trains one model, received {arm!r}, whose "
            f"optimizer.num_nodes={settings['optimizer']['num_nodes']} train one each; --auto has "
            "no advice for decentralized training"
        )
    plan = experiment.make_plan(settings)
    check_length(plan, epochs="plan", num_examples="data.num_examples")
    if settings.get("callbacks"):
        _check_callbacks(settings, arm)


def check_length(plan: Plan, *, epochs: str, num_examples: str) -> None:
    """Refuses a plan of fewer epochs or examples than are measured.

    Args:
        plan: the present plan.
        epochs, num_examples: what the user calls them.

    Raises:
        UserError: it has fewer.
    """
    if plan.epochs <= FEWEST_EPOCHS:
        raise UserError(
            f"{epochs}: expected more epochs than the {FEWEST_EPOCHS} that are measured at least, "
            f"received {plan.epochs}"
        )
    if plan.num_examples < _FEWEST_EXAMPLES:
        raise UserError(
            f"{num_examples}: expected at least {_FEWEST_EXAMPLES} examples, which the noise scale "
            f"is measured with, received {plan.num_examples}"
        )


def advise(
    task,
    strategy: str,
    budget_mb: float | None = None,
    say=print,
) -> Advice:
    """Measures an arm and recommends a plan.

    Trains with the arm's model, data, optimizer and learning rates from its first batch size under
    `AdaptiveBatchSize`, in memory, for a quarter of the epochs (at least 2, and no more than about
    a minute unless 2 take longer); then tries the batch sizes of both plans.

    Args:
        task: what is trained: a `ConfigTask` of an arm that `check_arm` has seen, or a
            `PythonTask`.
        strategy: a name for `lbkeras.distribution.strategy`.
        budget_mb: as for `probe_batch_sizes`.
        say: called with one line whenever something takes long.

    Raises:
        UserError: a setting or data set is not usable, memory does not suffice, or the loss is no
            number.
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
    """Increasing sizes in groups within a factor of 8: of each, one call takes a similar time.

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
                f"--arm: expected one whose plan says its {what}, received {arm!r}, where "
                f"callbacks.{name} sets it while it trains"
            )


def _one_size(baseline: Plan, batch_size: int) -> Plan:
    """A plan with that batch size alone; only its steps are of interest."""
    phase = dict(first_epoch=0, epochs=1, batch_size=batch_size, learning_rate=1e-3)
    phases = (phase | dict(momentum=baseline.phases[0].momentum),)
    return explicit_plan(phases=phases, num_examples=baseline.num_examples)
