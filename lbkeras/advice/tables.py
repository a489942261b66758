"""Plain-text tables of plans, probes and dry runs."""

from lbkeras.planning import durations
from lbkeras.planning.noise_scale import noise_scale
from lbkeras.terminal_text import table, wrapped

_LEGEND = (  # of a dry run
    "pieces: replicas x pieces of a replica's share x examples at once (--micro_batch_size)",
    "evaluation: examples/s; files: two checkpoints and the model, which is about as large",
    "* extrapolated from a few pieces, without evaluation",
)


def format_plans(plans: dict, width: int | None = None) -> str:
    """Returns a table with a row per phase, and each arm's updates compared with the first arm.

    Args:
        plans: a Plan for each arm.
        width: the width to fit; None: any.
    """
    header = ("arm", "epochs", "batch", "learning rate", "momentum", "steps/epoch", "noise scale")
    baseline = next(iter(plans.values())).updates()
    rows, summaries = [header], []
    for arm, plan in plans.items():
        for index, phase in enumerate(plan.phases):
            rows.append(
                (
                    arm if index == 0 else "",
                    _epochs(phase),
                    f"{phase.batch_size:,}",
                    _course(plan.learning_rates(phase), "{:.6g}", "→"),
                    f"{phase.momentum:g}",
                    f"{plan.steps_per_epoch(phase.first_epoch):,}",
                    _noise_scales(plan, phase),
                )
            )
        summaries.append((arm, f"{plan.updates():,} updates", _fewer(plan.updates(), baseline)))
    return table(rows, width) + "\n\n" + table(summaries, width)


def _course(values, form: str, arrow: str) -> str:
    """Returns the start, peak and end of a curve as text; one value if it is constant."""
    start, peak, end = values[0], max(values), values[-1]
    shown = [start, *([peak] if peak > max(start, end) else []), end]
    shown = [form.format(value) for value in shown]
    return shown[0] if len(set(shown)) == 1 else arrow.join(shown)


def _noise_scales(plan, phase) -> str:
    """Returns the range of a phase's noise scale, which is proportional to its learning rate."""
    values = [
        noise_scale(rate, phase.momentum, phase.batch_size, plan.num_examples)
        for rate in plan.learning_rates(phase)
    ]
    return _course(sorted([min(values), max(values)]), "{:,.4g}", " to ")


def _fewer(updates: int, baseline: int) -> str:
    if updates > baseline:
        return f"{updates / baseline:.2f}x more"
    return f"{baseline / updates:.2f}x fewer" if updates < baseline else ""


def format_probes(
    plans: dict, probes: dict, predicted: dict | None = None, width: int | None = None
) -> str:
    """Returns a table of what each phase takes on this machine, and each arm's predicted time.

    Args:
        plans: a Plan for each arm.
        probes: for each arm a Probe for each batch size.
        predicted: for each arm the seconds of each phase; None: from `predicted_seconds`.
        width: the width to fit; None: any.
    """
    from lbkeras.advice.predict import predicted_seconds

    header = ("arm", "epochs", "batch", "micro-batch", "memory", "examples/s", "steps", "time")
    rows, summaries = [header], []
    for arm, plan in plans.items():
        seconds = predicted[arm] if predicted else predicted_seconds(plan, probes[arm])
        for index, phase in enumerate(plan.phases):
            probe = probes[arm][phase.batch_size]
            steps = phase.epochs * plan.steps_per_epoch(phase.first_epoch)
            rows.append(
                (
                    arm if index == 0 else "",
                    _epochs(phase),
                    f"{phase.batch_size:,}",
                    f"{probe.micro_batch_size:,}",
                    "" if probe.memory_mb is None else f"{probe.memory_mb:,.0f} MB",
                    f"{probe.examples_per_second:,.0f}",
                    f"{steps:,}",
                    durations.in_words(seconds[index], digits=1),
                )
            )
        total = durations.in_words(sum(seconds), digits=1)
        summaries.append((arm, total, "of training, without evaluation"))
    return table(rows, width) + "\n\n" + table(summaries, width)


def format_advice(advice, own: str = "own", width: int | None = None) -> str:
    """Returns a table of both plans of an `Advice` and what they take on this machine.

    Args:
        advice: an `Advice`.
        own: the name of its baseline plan.
        width: the width to fit; None: any.
    """
    plans = {own: advice.baseline, "recommended": advice.plan}
    probes = dict.fromkeys(plans, advice.probes)
    seconds = {own: advice.baseline_seconds, "recommended": advice.seconds}
    return f"{format_plans(plans, width)}\n\n{format_probes(plans, probes, seconds, width)}"


def format_dry_run(result, width: int | None = None) -> str:
    """Returns the tables of a `DryRun`: a row per arm and batch size, then a row per arm."""
    header = ("arm", "batch", "pieces", "memory", "examples/s", "time*")
    rows = [header]
    totals = [("arm", "updates", "time*", "evaluation", "checkpoint", "files")]
    for arm, found in result.arms.items():
        for index, each in enumerate(found.tried.values()):
            phases = [p for p in found.plan.phases if p.batch_size == each.batch_size]
            seconds = [found.phase_seconds(phase) for phase in phases]
            rows.append(
                (
                    arm if index == 0 else "",
                    f"{each.batch_size:,}",
                    f"{each.replicas} x {each.pieces:,} x {each.micro_batch_size:,}",
                    "" if each.memory_mb is None else f"{each.memory_mb:,.0f} MB",
                    _rate(each.examples_per_second),
                    "" if None in seconds else durations.in_words(sum(seconds), digits=1),
                )
            )
        totals.append(
            (
                arm,
                f"{found.plan.updates():,}",
                "" if found.seconds is None else durations.in_words(found.seconds, digits=1),
                _rate(found.evaluation[1]),
                _size(found.checkpoint_bytes),
                _size(found.file_bytes),
            )
        )
    legend = "\n".join(wrapped(line, width, "  ") for line in _LEGEND)
    return f"{table(rows, width)}\n\n{table(totals, width)}\n\n{legend}"


def _size(number: int) -> str:
    return f"{number / 1e6:,.0f} MB" if number >= 10**7 else f"{number / 1e3:,.0f} kB"


def _rate(examples_per_second: float | None) -> str:
    if examples_per_second is None:
        return ""
    return f"{examples_per_second:,.{0 if examples_per_second >= 100 else 1}f}"


def _epochs(phase) -> str:
    return f"{phase.first_epoch + 1}-{phase.first_epoch + phase.epochs}"
