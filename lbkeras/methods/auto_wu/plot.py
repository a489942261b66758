"""The plot of a run with AutoWU: what its test saw, where the warm-up ended, the learning rate."""

import math
from typing import Any

from lbkeras import files, metrics
from lbkeras.errors import UserError
from lbkeras.runs.record import RunFolder

_KEYS = ("epochs", "warmup_epochs", "peak_learning_rate", "learning_rate", "loss", "posterior")


def read_auto_wu(run: RunFolder) -> dict[str, Any] | None:
    """Returns what AutoWU wrote to a run's folder; None if it wrote nothing.

    Raises:
        UserError: the file is malformed.
    """
    path = run.path / "auto_wu.json"
    if not path.exists():
        return None
    content = files.read_json_object(path)
    for key in _KEYS:
        if key not in content:
            raise UserError(f"{path}: expected {key!r}, received {', '.join(content)}")
    return content


def draw_auto_wu(axes, content: dict[str, Any], history, colors) -> None:
    """Draws the losses, the last test's Gaussian process, the warm-up's end and the learning rate.

    Args:
        axes: of matplotlib; gets a second y axis for the learning rate.
        content: what `read_auto_wu` returns.
        history: the run's rows; their `loss` continues the curve after the warm-up.
        colors: of the losses, the Gaussian process and the learning rate.
    """
    of_losses, of_process, of_rate = colors
    warmup_epochs = content["warmup_epochs"]
    x, y = _finite(content["loss"]["epoch"], content["loss"]["value"])
    axes.plot(x, y, ".", color=of_losses, markersize=2, alpha=0.5, label="loss of each update")
    rows = [row for row in history if row.get("loss") is not None]
    later = [row for row in rows if warmup_epochs is not None and row["epoch"] >= warmup_epochs]
    axes.plot(
        [row["epoch"] + 0.5 for row in later], [row["loss"] for row in later], "o-",
        color=of_losses, markersize=3, linewidth=1, label="mean loss of an epoch",
    )  # fmt: skip
    top = _top(y)
    if content["posterior"]:
        _draw_process(axes, content["posterior"], of_process)
    if warmup_epochs is not None:
        back = f"{content['peak_learning_rate']:.3g}"
        if restored := content.get("restored_epoch"):  # 0.1.0 did not write it
            back += f" and the weights after {restored} epochs"
        axes.axvline(
            warmup_epochs, color="#444444", linestyle=":", linewidth=1.4,
            label=f"warm-up ends, back to {back}",
        )  # fmt: skip
    axes.set_xlim(0, content["epochs"])
    means = (content["posterior"] or {}).get("mean", [])
    bottom = min([0.0, *y, *means])
    axes.set_ylim(bottom if top is None else max(bottom, -0.25 * top), top)
    axes.set_xlabel(metrics.of("epochs").axis)
    axes.set_ylabel(metrics.of("loss").axis)
    _draw_rate(axes, content, of_rate)


def _draw_process(axes, posterior, color) -> None:
    epochs, means, deviations = posterior["epoch"], posterior["mean"], posterior["deviation"]
    low = [mean - 2 * deviation for mean, deviation in zip(means, deviations, strict=True)]
    high = [mean + 2 * deviation for mean, deviation in zip(means, deviations, strict=True)]
    axes.fill_between(epochs, low, high, color=color, alpha=0.25, linewidth=0)
    axes.plot(epochs, means, color=color, linewidth=1.8, label="Gaussian process, ± 2 deviations")


def _draw_rate(axes, content, color) -> None:
    second = axes.twinx()
    rates = content["learning_rate"]["value"]
    second.plot(
        content["learning_rate"]["epoch"], rates, color=color, linestyle="--", linewidth=1.4
    )
    axes.plot([], [], color=color, linestyle="--", linewidth=1.4, label="learning rate (right)")
    second.set_yscale("log")
    second.set_ylim(0.7 * rates[0], 2 * max(rates))
    second.set_ylabel(metrics.of("learning_rate").axis)
    second.spines["top"].set_visible(False)


def _finite(x, y) -> tuple[list, list]:
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if b is not None and math.isfinite(b)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _top(losses: list[float]) -> float | None:
    """Returns the upper limit of the y axis: at most twice the loss of the first updates.

    Losses that explode are cut off.
    """
    if not losses:
        return None
    first = sorted(losses[: max(1, len(losses) // 20)])
    return min(1.05 * max(losses), 2 * first[len(first) // 2])
