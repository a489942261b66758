"""A plan from a list of its phases, for use in a config."""

from collections.abc import Sequence

from lbkeras.planning.plan import Plan


def explicit_plan(
    *, phases: Sequence[dict], num_examples: int, curve: Sequence[dict] | None = None
) -> Plan:
    """Returns the plan that a list of phases describes, such as one from `Plan.to_dict`.

    >>> phase = dict(first_epoch=0, epochs=2, batch_size=32, learning_rate=0.1, momentum=0.9)
    >>> plan = explicit_plan(
    ...     phases=[phase, phase | dict(first_epoch=2, batch_size=64)], num_examples=640)
    >>> plan.batch_size(2), plan.updates()
    (64, 60)

    Args:
        phases: for each `Phase` a dict of its arguments. The counts that `Plan.to_dict` adds to
            them are ignored and computed again.
        num_examples: examples per epoch.
        curve: for each `Segment` of the learning rate a dict of its arguments. None: the learning
            rate is constant in each phase.

    Raises:
        UserError: a key is missing, or a value is out of its range.
    """
    return Plan.from_dict({"phases": phases, "num_examples": num_examples, "curve": curve})
