"""A plan that is written out, phase by phase, so that it can stand in a config."""

from collections.abc import Sequence

from lbkeras.planning.plan import Plan


def explicit_plan(
    *, phases: Sequence[dict], num_examples: int, curve: Sequence[dict] | None = None
) -> Plan:
    """The plan that `Plan.to_dict` wrote out.

    >>> phase = dict(first_epoch=0, epochs=2, batch_size=32, learning_rate=0.1, momentum=0.9)
    >>> plan = explicit_plan(
    ...     phases=[phase, phase | dict(first_epoch=2, batch_size=64)], num_examples=640)
    >>> plan.batch_size(2), plan.updates()
    (64, 60)

    Args:
        phases: for each `Phase` a dict of its arguments; what `Plan.to_dict` counts beside them
            may be there and is counted again.
        num_examples: examples an epoch.
        curve: for each `Segment` of the learning rate a dict of its arguments; None: constant in
            each phase.

    Raises:
        UserError: a key is missing, or a value is out of its range.
    """
    return Plan.from_dict({"phases": phases, "num_examples": num_examples, "curve": curve})
