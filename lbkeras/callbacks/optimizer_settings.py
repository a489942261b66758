"""Reading and setting what the callbacks steer in a Keras optimizer."""

import keras

from lbkeras.errors import UserError


def base_optimizer(optimizer):
    """The optimizer itself, under a loss-scaling wrapper if there is one."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def get_momentum(optimizer) -> float | None:
    """The momentum coefficient, or None for an optimizer without one (Adam)."""
    momentum = getattr(base_optimizer(optimizer), "momentum", None)
    return float(momentum) if isinstance(momentum, int | float) else None


def set_momentum(optimizer, momentum: float) -> None:
    """Sets the momentum coefficient; it acts from the next trace of the train function on.

    Raises:
        UserError: the optimizer was built without momentum, so it has no velocities.
    """
    optimizer = base_optimizer(optimizer)
    if optimizer.momentum == 0 and momentum > 0:
        raise UserError(
            f"momentum: expected an optimizer that starts with momentum > 0, received one with 0 "
            f"and a plan that changes it to {momentum}"
        )
    optimizer.momentum = float(momentum)


def last_learning_rate(optimizer) -> float:
    """The learning rate of the latest update (of the next one before the first)."""
    optimizer = base_optimizer(optimizer)
    rate = optimizer._learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(max(int(keras.ops.convert_to_numpy(optimizer.iterations)) - 1, 0))
    return float(f"{float(keras.ops.convert_to_numpy(rate)):.7g}")  # float32 as it was meant
