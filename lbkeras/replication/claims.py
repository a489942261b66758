"""A paper's claim as data: the arm, its baseline, the metric and the test."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from lbkeras import metrics
from lbkeras.errors import UserError, unknown_name

TESTS = ("not_worse", "worse", "equivalent", "ratio_at_least")
POINT = 0.01  # of an accuracy
# How sure a source is: the letter in reports (and in records before 0.2.0) and its meaning.
TAGS = {
    "stated": ("S", "stated in the source"),
    "secondary": ("T", "from a secondary text, a reproduction or public code"),
    "both": ("ST", "stated in the source and in a secondary text"),
    "arithmetic": ("A", "arithmetic"),
    "recalled": ("M", "recalled, not looked up"),
    "doubted": ("M?", "recalled with doubt"),
}
LETTERS = dict(TAGS.values())
_TEXTS = ("name", "statement", "test", "arm", "baseline", "source", "metric", "note", "tag")


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim of a paper, tested by comparing an arm's seeds with a baseline's.

    With a and b the true means of `metric` over seeds, both negated where less is better (losses,
    distances, sharpness, updates, seconds):

        not_worse        a >= b - margin        (non-inferiority)
        worse            a <  b - margin        (margin is optional, default 0)
        equivalent       |a - b| <= margin      (two one-sided tests)
        ratio_at_least   b / a >= ratio         (geometric means of the metric, never negated)

    If a = b, no number of seeds shows a < b or a > b. Therefore a claim of `worse` is not supported
    as soon as the seeds show a > b - smallest_effect (non-inferiority). If they also show
    a < b - margin, it is supported, and the reason says that the difference is small.

    Args:
        name: a short identifier.
        statement: the claim in one sentence, in the paper's words.
        test: one of `not_worse`, `worse`, `equivalent`, `ratio_at_least`.
        arm: the arm the claim is about.
        baseline: the arm it is compared with.
        source: paper, section and table.
        tag: how sure the source is: stated, secondary, both, arithmetic or recalled (`TAGS`).
            `doubted` is refused, as a number recalled with doubt is no basis for a test.
        metric: a key of the record's `final` values; `updates`, `examples_seen` or `seconds`; or a
            value derived from the history, such as `val_accuracy_median_of_last_5`.
        margin: absolute, in the metric's unit (0.01 is one point of accuracy); required and
            positive for `not_worse` and `equivalent`.
        smallest_effect: for `worse`, the smallest difference that matters, in the metric's unit;
            at least `margin`. Defaults to `margin`; without a margin to 0.01 for an accuracy and
            to 0 for any other metric.
        ratio: positive; required for `ratio_at_least`.
        paper: the paper's own values, for the report only: `{"arm": 0.944, "baseline": 0.943}`.
        note: a remark for the report.
        better: `"higher"` or `"lower"`; required for a metric of which lbkeras does not know the
            better direction (`metrics.of`), unless the test is `ratio_at_least`.

    Raises:
        UserError: a value is missing or unusable.
    """

    name: str
    statement: str
    test: str
    arm: str
    baseline: str
    source: str = ""
    tag: str = "secondary"
    metric: str = "val_accuracy"
    margin: float | None = None
    ratio: float | None = None
    paper: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""
    better: str | None = None
    smallest_effect: float | None = None

    def __post_init__(self):
        for key in _TEXTS:
            if not isinstance(getattr(self, key), str):
                raise self._error(key, "text", getattr(self, key))
        _check_known(f"claim {self.name!r}: test", self.test, TESTS)
        if letter_of(self.tag) not in LETTERS or letter_of(self.tag) == "M?":
            raise self._error("tag", "stated, secondary, both, arithmetic or recalled", self.tag)
        if self.better not in (metrics.HIGHER, metrics.LOWER, None):
            raise self._error("better", "higher or lower", self.better)
        if (
            self.test != "ratio_at_least"
            and (self.better or metrics.of(self.metric).better) is None
        ):
            raise self._error("better", f"higher or lower for the metric {self.metric!r}", None)
        if self.arm == self.baseline:
            raise self._error("baseline", "an arm other than the claim's", self.baseline)
        if not isinstance(self.paper, Mapping):
            raise self._error("paper", "a dictionary", self.paper)
        if self.test != "worse" and self.smallest_effect is not None:
            raise self._error(
                "smallest_effect", f"no value with the test {self.test!r}", self.smallest_effect
            )
        if self.test == "ratio_at_least":
            if not _is_number(self.ratio) or self.ratio <= 0:
                raise self._error("ratio", "a positive number", self.ratio)
            if self.margin is not None:
                raise self._error("margin", "no value with the test 'ratio_at_least'", self.margin)
            return
        if self.ratio is not None:
            raise self._error("ratio", f"no value with the test {self.test!r}", self.ratio)
        if self.test == "worse":
            if self.margin is not None and (not _is_number(self.margin) or self.margin < 0):
                raise self._error("margin", "a number >= 0", self.margin)
            least, effect = self.margin or 0, self.smallest_effect
            if effect is not None and (not _is_number(effect) or effect < least):
                raise self._error("smallest_effect", f"a number >= {least:g}", effect)
        elif not _is_number(self.margin) or self.margin <= 0:
            raise self._error("margin", "a positive number", self.margin)
        for key in ("margin", "smallest_effect") if metrics.of(self.metric).is_share else ():
            value = getattr(self, key)
            if value is not None and value >= 1:
                raise self._error(key, f"a share below 1 (a point is {POINT})", value)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], arms: Iterable[str] | None = None) -> "Claim":
        """Builds a claim from a config's plain data.

        Args:
            data: the fields by name.
            arms: the replication's arms; if given, the claim's arms must be among them.

        Raises:
            UserError: an unknown or missing key, arm, test or value; the message names the nearest
                valid one.
        """
        if not isinstance(data, Mapping):
            raise UserError(f"claim: expected a dictionary, received {data!r}")
        fields = dataclasses.fields(cls)
        where = f"claim {data.get('name', '(unnamed)')!r}"
        for key in data:
            _check_known(f"{where}: key", key, [field.name for field in fields])
        for field in fields[:5]:
            if field.name not in data:
                raise UserError(f"{where}: expected the key {field.name!r}, received none")
        claim = cls(**data)
        if arms is not None:
            arms = list(arms)
            _check_known(f"{where}: arm", claim.arm, arms)
            _check_known(f"{where}: baseline", claim.baseline, arms)
        return claim

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value is better: as the claim says, else as known for the metric."""
        return self._direction == metrics.LOWER

    @property
    def effect_that_matters(self) -> float:
        """The `smallest_effect`, or its default."""
        if self.smallest_effect is not None:
            return self.smallest_effect
        if self.margin is None and self.test == "worse" and metrics.of(self.metric).is_share:
            return POINT
        return self.margin or 0.0

    @property
    def is_cost(self) -> bool:
        """Whether the metric counts what a run spent rather than how good its model is."""
        return metrics.of(self.metric).cost

    def to_dict(self) -> dict[str, Any]:
        """Returns the claim as plain data, without the fields that are not set."""
        data = {**dataclasses.asdict(self), "paper": dict(self.paper)}
        return {key: value for key, value in data.items() if value not in (None, "", {})}

    @property
    def _direction(self) -> str | None:
        return self.better or metrics.of(self.metric).better

    def _error(self, key: str, expected: str, received: Any) -> UserError:
        return UserError(
            f"claim {self.name!r}: expected {expected} for {key!r}, received {received!r}"
        )


def letter_of(tag: str) -> str:
    """Returns the letter of a tag in reports; any other text, such as a letter, unchanged."""
    return TAGS[tag][0] if tag in TAGS else tag


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_known(what: str, value: Any, known: Iterable[str]) -> None:
    known = list(known)
    if value not in known:
        raise UserError(unknown_name(what, value, known))
