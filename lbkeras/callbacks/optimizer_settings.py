"""Reads and sets the learning rate and momentum of a Keras optimizer, for callbacks."""

import keras

from lbkeras.errors import UserError
from lbkeras.keras_internals import jax_state
from lbkeras.keras_internals.backend import check_backend, on_jax
from lbkeras.keras_internals.borrowed import borrow, give_back
from lbkeras.keras_internals.model import scope_of
from lbkeras.keras_internals.optimizer import learning_rate_of, set_learning_rate
from lbkeras.planning.plan import Plan, check_without_momentum
from lbkeras.schedules.curve import Curve
from lbkeras.schedules.decays import steps
from lbkeras.schedules.steered_learning_rate import SteeredLearningRate

_LEARNING_RATE, MOMENTUM, SAVED_RATE = "learning rate", "momentum", "saved learning rate"
_OF_A_PLAN = "learning_rate_of_a_plan"  # the name of what replaces its schedule in a file


def base_optimizer(optimizer):
    """Returns the optimizer itself, without a loss-scaling wrapper."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def get_momentum(optimizer) -> float | None:
    """Returns the momentum coefficient, or None for an optimizer without one (Adam)."""
    momentum = getattr(base_optimizer(optimizer), "momentum", None)
    return float(momentum) if isinstance(momentum, int | float) else None


def set_momentum(optimizer, momentum: float) -> None:
    """Sets the momentum coefficient from the next trace on; old and new value must not be 0."""
    base_optimizer(optimizer).momentum = float(momentum)


def check_momentum(optimizer, plan: Plan) -> None:
    """Checks that the optimizer's momentum is one of the plan's; without momentum, that it is 0.

    Raises:
        UserError: it is not.
    """
    momentum = get_momentum(optimizer)
    if momentum is None:
        check_without_momentum(plan, type(base_optimizer(optimizer)).__name__)
    elif momentum not in {phase.momentum for phase in plan.phases}:
        raise UserError(
            f"momentum: expected the plan's {plan.phases[0].momentum}, "
            f"received an optimizer with {momentum}"
        )


def check_no_accumulation(optimizer, beside: str) -> None:
    """Refuses Keras' gradient accumulation over several batches.

    Args:
        optimizer: the optimizer of `model.compile`.
        beside: what cannot be combined with accumulation, for the message.

    Raises:
        UserError: the optimizer has gradient_accumulation_steps.
    """
    steps = base_optimizer(optimizer).gradient_accumulation_steps
    if steps:
        raise UserError(
            f"gradient_accumulation_steps: expected none with {beside} (callbacks.MicroBatches "
            f"computes a larger batch in pieces), received {steps}"
        )


def borrow_momentum(model) -> None:
    """Arranges that the optimizer gets its momentum back at the end of this `fit`."""
    optimizer, own = model.optimizer, get_momentum(model.optimizer)

    def put_back():
        changed = get_momentum(optimizer) != own
        if changed:
            set_momentum(optimizer, own)
        return changed

    borrow(model, MOMENTUM, put_back)


def last_learning_rate(optimizer) -> float:
    """Returns the learning rate of the latest update; before the first update, of that one."""
    optimizer = base_optimizer(optimizer)
    rate = learning_rate_of(optimizer)
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(max(int(keras.ops.convert_to_numpy(optimizer.iterations)) - 1, 0))
    return _exactly(rate)


def next_learning_rate(optimizer) -> float:
    """Returns the learning rate of the next update."""
    return _exactly(base_optimizer(optimizer).learning_rate)


def _exactly(rate) -> float:
    """Returns a float32 as the decimal number it was set to: 0.1, not 0.10000000149."""
    return float(f"{float(keras.ops.convert_to_numpy(rate)):.7g}")


def get_trust_ratios(optimizer) -> dict[str, float]:
    """Returns the latest trust ratio of each layer; {} for an optimizer without trust ratios.

    A layer with several scaled variables (an LSTM's two kernels) has one entry per variable, under
    the variable's full path.
    """
    read = getattr(base_optimizer(optimizer), "trust_ratios", dict)
    ratios = read()
    layers = [path.rpartition("/")[0] or path for path in ratios]
    return {
        layer if layers.count(layer) == 1 else path: ratio
        for layer, (path, ratio) in zip(layers, ratios.items(), strict=True)
    }


def install_learning_rate(model, owner) -> SteeredLearningRate:
    """Replaces the optimizer's constant learning rate by one that `owner` controls.

    Call this in a callback's `set_model`, `check_ownership` in its `on_train_begin`, and
    `restore_learning_rate` in its `on_train_end`.

    Args:
        model: a compiled model.
        owner: the callback.

    Raises:
        UserError: the optimizer has its own schedule, or no learning rate.
    """
    optimizer = base_optimizer(model.optimizer)
    name = type(owner).__name__
    check_backend(name, "tensorflow", "jax")
    rate = learning_rate_of(optimizer)
    number = getattr(rate, "number", rate)  # of another callback, which check_ownership refuses
    if isinstance(number, keras.optimizers.schedules.LearningRateSchedule) or number is None:
        received = "none" if number is None else type(number).__name__
        raise UserError(
            f"learning_rate: {name} and the optimizer's {received} cannot both set it; expected "
            f"an optimizer with a number, such as {type(optimizer).__name__}(learning_rate=0.1)"
        )
    return put_learning_rate(model, number, steps([_exactly(number)], [], 1), name)


def put_learning_rate(model, present, curve: Curve, owner: str) -> SteeredLearningRate:
    """Replaces `present` by a learning rate that a callback controls, until it is restored.

    Args:
        model: a compiled model.
        present: the optimizer's own learning rate, a variable or a schedule.
        curve: curve with which the new one begins.
        owner: the callback's class name.
    """
    optimizer = base_optimizer(model.optimizer)
    with scope_of(model):
        steered = SteeredLearningRate(curve, owner=owner)
    steered.number = present
    if on_jax():
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        jax_state.carry_in_optimizer(optimizer, steered.variables)
    # The optimizer's own setter would remove the number from `optimizer.variables` and so change
    # their order in checkpoints.
    set_learning_rate(optimizer, steered)
    save_present_rate(optimizer)
    model.train_function = None

    def put_back():
        set_learning_rate(optimizer, present)
        save_own_rate(optimizer)
        jax_state.drop_from_optimizer(optimizer, steered.variables)
        return True

    borrow(model, _LEARNING_RATE, put_back)
    return steered


def check_ownership(model, steered: SteeredLearningRate) -> None:
    """Checks that no other callback controls the learning rate in this `fit`.

    Raises:
        UserError: another callback does; the message names both.
    """
    present = learning_rate_of(base_optimizer(model.optimizer))
    if present is not steered:
        other = getattr(present, "owner", "") or type(present).__name__
        if isinstance(present, SteeredLearningRate):
            restore_learning_rate(model, present)
        raise UserError(
            f"learning_rate: {steered.owner} and {other} cannot both set it; expected one of the "
            "two callbacks"
        )


def restore_learning_rate(model, steered: SteeredLearningRate) -> None:
    """Gives the optimizer its own learning rate back, unchanged."""
    if learning_rate_of(base_optimizer(model.optimizer)) is steered:
        give_back(model, _LEARNING_RATE)


def save_present_rate(optimizer) -> None:
    """Makes files saved during `fit` loadable with the optimizer's state, and without lbkeras.

    The learning rate that a callback controls does not belong to the optimizer. With its variables
    in the file, Keras would assign the ones after them wrongly. Instead the file holds the rate of
    the next update: as the optimizer's number, or, if the optimizer has a plan's schedule and
    therefore no number, as a constant Keras schedule, which a `BatchSizeScheduler` with a plan
    replaces by the plan's schedule after loading. lbkeras' own optimizers keep the plan's schedule
    in the file.

    Applies until `save_own_rate` is called.

    Args:
        optimizer: the optimizer without a loss-scaling wrapper.
    """
    kind, rate = type(optimizer), learning_rate_of(optimizer)
    carried = rate.variables if on_jax() and isinstance(rate, SteeredLearningRate) else []
    number = getattr(rate, "number", rate)
    if isinstance(number, keras.optimizers.schedules.LearningRateSchedule):
        number = None
        if not kind.__module__.startswith("keras."):
            return

    def get_config():
        present = _exactly(optimizer.learning_rate)
        if number is None:
            schedule = keras.optimizers.schedules.ExponentialDecay(present, 1, 1.0, name=_OF_A_PLAN)
            present = keras.optimizers.schedules.serialize(schedule)
        return kind.get_config(optimizer) | {"learning_rate": present}

    def save_own_variables(store):
        values = {}  # a file accepts each key only once
        kind.save_own_variables(optimizer, values)
        for _ in carried:  # the last ones, on JAX
            del values[str(len(values) - 1)]
        for place, variable in enumerate(optimizer.variables):
            if variable is number:
                values[str(place)] = keras.ops.convert_to_numpy(optimizer.learning_rate)
        for name, value in values.items():
            store[name] = value

    vars(optimizer).update(get_config=get_config, save_own_variables=save_own_variables)


def save_own_rate(optimizer) -> None:
    """Undoes `save_present_rate`."""
    for name in ("get_config", "save_own_variables"):
        vars(optimizer).pop(name, None)


def take_back_schedule(optimizer, schedule) -> None:
    """Puts a plan's schedule back in place of what `save_present_rate` saved for it."""
    if getattr(learning_rate_of(optimizer), "name", "") == _OF_A_PLAN:
        set_learning_rate(optimizer, schedule)
