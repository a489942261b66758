"""The advisor's recommendation in words and as JSON data."""

import math

from lbkeras.advice.plan import largest_stable_batch_size
from lbkeras.planning import durations
from lbkeras.terminal_text import wrapped

_MORE_EXAMPLES = 1.2  # ratio of examples/s below which a larger batch saves hardly any time


def advice_data(arm: str, advice) -> dict:
    """Returns the recommendation as JSON data."""

    def known(number):
        return number if math.isfinite(number) else None

    return {
        "arm": arm,
        "plan": advice.plan.to_dict(),
        "own_plan": advice.baseline.to_dict(),
        "updates": advice.plan.updates(),
        "own_updates": advice.baseline.updates(),
        "predicted_seconds": sum(advice.seconds),
        "own_predicted_seconds": sum(advice.baseline_seconds),
        "reasons": reasons(advice),
        "measured": [
            {
                "epoch": epoch,
                "batch_size": row.batch_size,
                "lower": known(row.lower),
                "upper": known(row.upper),
                "gradient_variance": known(row.variance),
                "gradient_squared_norm": row.squared_norm,
                "loss": row.loss,
                "seconds": row.seconds,
            }
            for epoch, row in enumerate(advice.measured)
        ],
        "batch_sizes": [
            {
                "batch_size": probe.batch_size,
                "micro_batch_size": probe.micro_batch_size,
                "memory_mb": probe.memory_mb,
                "examples_per_second": probe.examples_per_second,
                "seconds_a_step": probe.seconds_per_step,
                "seconds_to_start": probe.startup_seconds,
            }
            for probe in advice.probes.values()
        ],
    }


def reasons(advice) -> list[str]:
    """Returns the reasons for the recommended plan: sentences with the measured numbers."""
    if advice.plan == advice.baseline:
        return [_measurement(advice), *_why_kept(advice), _memory(advice), _one_run()]
    return [
        _measurement(advice),
        *_batch_sizes(advice),
        *_learning_rates(advice),
        _savings(advice),
        _speed(advice),
        _memory(advice),
        "The critical batch size usually keeps growing while the loss falls. A plan stops at the "
        "measured values; callbacks.AdaptiveBatchSize keeps measuring until training ends.",
        _one_run(),
    ]


def format_reasons(sentences: list[str], width: int | None = None) -> str:
    """Returns the sentences as numbered lines of at most `width` (None: 100) characters."""
    return "\n".join(
        wrapped(f"{number:2}. {sentence}", min(width or 100, 100), " " * 4)
        for number, sentence in enumerate(sentences, start=1)
    )


def bounds_in_words(lower: float, upper: float) -> str:
    """Returns the bounds as text: "between 17 and 31", "at least 10" or "not known"."""
    if math.isnan(lower) or math.isnan(upper) or (lower < 1 and math.isinf(upper)):
        return "not known"
    known = f"between {lower:,.0f} and {upper:,.0f}"
    return f"at least {lower:,.0f}" if math.isinf(upper) else known


def _measurement(advice) -> str:
    first, last, count = advice.measured[0], advice.measured[-1], len(advice.measured)
    took = durations.in_words(sum(row.seconds for row in advice.measured), digits=1)
    early, late = (bounds_in_words(row.lower, row.upper) for row in (first, last))
    return (
        f"{count} epochs were trained, starting with batch size {first.batch_size:,} "
        f"({took} of training). The critical batch size (the gradient noise scale, up to which a "
        f"larger batch saves updates about in proportion) was {early} examples "
        f"after the first epoch and {late} after the last."
    )


def _why_kept(advice) -> list[str]:
    baseline, last = advice.baseline, advice.measured[-1]
    size = baseline.batch_size(0)
    largest = max(phase.batch_size for phase in baseline.phases)
    sentences = ["The recommended plan is your own."]
    if math.isnan(last.lower):
        sentences.append("The critical batch size is not known, so nothing is changed.")
    elif 2 * largest > baseline.num_examples // 10 and last.lower >= largest:
        sentences.append(
            f"Twice the batch size of {largest:,} would be above a tenth of the data "
            f"({baseline.num_examples // 10:,}), beyond which accuracy is usually lost."
        )
    elif last.upper < size:
        sentences.append(
            f"The batch size of {size:,} is already above the critical batch size: a smaller one, "
            f"towards {last.upper:,.0f}, would learn more from each example, with more updates."
        )
    elif last.lower < 2 * size:
        sentences.append(
            f"The critical batch size's lower bound after the last epoch, {last.lower:,.0f}, is "
            f"below twice the batch size of {size:,}, so a larger batch may cost accuracy."
        )
    elif not math.isinf(stable := largest_stable_batch_size(advice.measured)):
        sentences.append(
            f"The training loss rose when batch size and learning rate grew beyond {stable:,}, so "
            "they stay as they are: the noise scale would allow more, but the model does not "
            "tolerate it."
        )
    else:
        sentences.append(
            f"Its batch sizes, up to {largest:,}, are already as large as the measured lower "
            "bounds of the critical batch size allow."
        )
    return sentences


def _batch_sizes(advice) -> list[str]:
    baseline, plan = advice.baseline, advice.plan
    sizes = [phase.batch_size for phase in plan.phases]
    steps = ", ".join(f"{phase.batch_size:,} {_epochs(phase)}" for phase in plan.phases)
    sentences = [
        f"Batch sizes: {steps}. Each is at most the measured lower bound of the critical batch "
        "size, at most twice the batch size before it, and at most a tenth of the data. Where your "
        "own batch size is larger, it is kept."
    ]
    stable = largest_stable_batch_size(advice.measured)
    if not math.isinf(stable):
        sentences.append(
            f"The training loss rose when batch size and learning rate grew beyond {stable:,}, so "
            "they stop there: the noise scale would allow more, but the model does not tolerate it."
        )
    if sizes[0] > baseline.batch_size(0):
        sentences.append(
            f"Even the first epoch allows {sizes[0]:,} instead of {baseline.batch_size(0):,}. "
            "The noise scale is smallest at the very beginning, so the plan starts one size below "
            "what was measured, and the learning rate warms up for one epoch from "
            f"{baseline.learning_rate(0):.4g}."
        )
    return sentences


def _epochs(phase) -> str:
    first, last = phase.first_epoch + 1, phase.first_epoch + phase.epochs
    return f"in epoch {first}" if first == last else f"in epochs {first} to {last}"


def _learning_rates(advice) -> list[str]:
    baseline, plan = advice.baseline, advice.plan
    factors = []
    for phase in plan.phases:
        epoch = phase.first_epoch + phase.epochs - 0.5
        present = baseline.batch_size(math.floor(epoch))
        warms_up = epoch < 1 and phase.batch_size > present
        if phase.batch_size == present or warms_up or not baseline.learning_rate(epoch):
            continue
        gain = plan.learning_rate(epoch) / baseline.learning_rate(epoch)
        times = phase.batch_size / present
        factors.append(f"{gain:.3g} at {phase.batch_size:,} ({times:.3g} times the batch)")
    if not factors:
        return []
    power = "" if advice.gain_power == 1 else "the square root of "
    sentences = [
        f"Learning rates: your own curve times {power}AdaScale's gain (how many of your updates "
        f"one update with the larger batch is worth): {', '.join(factors)}."
    ]
    if power:
        sentences.append(
            "The square root is used because this optimizer divides by the size of the gradients, "
            "which shrinks with their noise."
        )
    if advice.clipping:
        sentences.append(
            f"Caution: the optimizer clips gradients ({advice.clipping}), which the gain does not "
            "account for. A learning rate that needs clipping may not tolerate an increase."
        )
    return sentences


def _savings(advice) -> str:
    baseline, plan = advice.baseline, advice.plan
    before, after = sum(advice.baseline_seconds), sum(advice.seconds)
    return (
        f"Updates: {plan.updates():,} instead of {baseline.updates():,}, "
        f"{baseline.updates() / plan.updates():.2f} times fewer in the same {baseline.epochs} "
        "epochs; "
        f"predicted time {durations.in_words(after, digits=1)} instead of "
        f"{durations.in_words(before, digits=1)}, "
        f"{after / before:.2f} times the time on this machine, without evaluation."
    )


def _speed(advice) -> str:
    speeds = {size: probe.examples_per_second for size, probe in sorted(advice.probes.items())}
    listed = ", ".join(f"{speed:,.0f} at {size:,}" for size, speed in speeds.items())
    small = speeds[advice.baseline.batch_size(0)]
    large = speeds[max(phase.batch_size for phase in advice.plan.phases)]
    if large >= _MORE_EXAMPLES * small:
        return f"Examples per second: {listed}; larger batches use this machine better."
    verdict = "are hardly faster" if large * _MORE_EXAMPLES >= small else "are even slower"
    return (
        f"Examples per second: {listed}; larger batches {verdict} here: fewer updates, but no less "
        "time. They pay off on several devices, where each update costs an exchange of gradients."
    )


def _memory(advice) -> str:
    divided = [probe for probe in advice.probes.values() if probe.pieces > 1]
    if not divided:
        return "Memory: every batch size of both plans fits at once."
    sizes = ", ".join(f"{p.batch_size:,} in pieces of {p.micro_batch_size:,}" for p in divided)
    least = min(probe.micro_batch_size for probe in divided)
    return (
        f"Memory: {sizes}; train with --micro_batch_size={least}, or "
        f"callbacks.MicroBatches(train, {least})."
    )


def _one_run() -> str:
    return (
        "This is one measurement with one seed: compare both plans with `lbkeras replicate` or "
        "`lbkeras.compare` before relying on it."
    )
