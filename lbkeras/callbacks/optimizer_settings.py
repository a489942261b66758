"""Reading and setting what the callbacks steer in a Keras optimizer."""

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
_OF_A_PLAN = "learning_rate_of_a_plan"  # the name of what stands for its schedule in a file


def base_optimizer(optimizer):
    """The optimizer itself, under a loss-scaling wrapper if there is one."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def get_momentum(optimizer) -> float | None:
    """The momentum coefficient, or None for an optimizer without one (Adam)."""
    momentum = getattr(base_optimizer(optimizer), "momentum", None)
    return float(momentum) if isinstance(momentum, int | float) else None


def set_momentum(optimizer, momentum: float) -> None:
    """Sets the momentum coefficient, neither from 0 nor to 0: it acts from the next trace on."""
    base_optimizer(optimizer).momentum = float(momentum)


def check_momentum(optimizer, plan: Plan) -> None:
    """Checks that a plan's momentum is the optimizer's, 0 for one without.

    Raises:
        UserError: it is another.
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
    """Refuses Keras' accumulation of gradients over several batches.

    Args:
        optimizer: of `model.compile`.
        beside: what cannot be combined with it, for the message.

    Raises:
        UserError: the optimizer has gradient_accumulation_steps.
    """
    steps = base_optimizer(optimizer).gradient_accumulation_steps
    if steps:
        raise UserError(
            f"gradient_accumulation_steps: expected none beside {beside} (callbacks.MicroBatches "
            f"computes a larger batch in pieces), received {steps}"
        )


def borrow_momentum(model) -> None:
    """Notes the momentum that the optimizer has again once this `fit` is over."""
    optimizer, own = model.optimizer, get_momentum(model.optimizer)

    def put_back():
        changed = get_momentum(optimizer) != own
        if changed:
            set_momentum(optimizer, own)
        return changed

    borrow(model, MOMENTUM, put_back)


def last_learning_rate(optimizer) -> float:
    """The learning rate of the latest update (of the next one before the first)."""
    optimizer = base_optimizer(optimizer)
    rate = learning_rate_of(optimizer)
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(max(int(keras.ops.convert_to_numpy(optimizer.iterations)) - 1, 0))
    return _exactly(rate)


def next_learning_rate(optimizer) -> float:
    """The learning rate of the next update."""
    return _exactly(base_optimizer(optimizer).learning_rate)


def _exactly(rate) -> float:
    """A float32 as it was meant."""
    return float(f"{float(keras.ops.convert_to_numpy(rate)):.7g}")


def get_trust_ratios(optimizer) -> dict[str, float]:
    """The latest trust ratio of each layer, {} for an optimizer without any.

    A layer with several scaled variables (an LSTM's two kernels) has an entry for each, named by
    the variable's whole path.
    """
    read = getattr(base_optimizer(optimizer), "trust_ratios", dict)
    ratios = read()
    layers = [path.rpartition("/")[0] or path for path in ratios]
    return {
        layer if layers.count(layer) == 1 else path: ratio
        for layer, (path, ratio) in zip(layers, ratios.items(), strict=True)
    }


def install_learning_rate(model, owner) -> SteeredLearningRate:
    """Puts a learning rate that `owner` steers in the place of the optimizer's number.

    For a callback's `set_model`; `check_ownership` belongs into its `on_train_begin` and
    `restore_learning_rate` into its `on_train_end`.

    Args:
        model: a compiled model.
        owner: the callback.

    Raises:
        UserError: the optimizer has a schedule of its own, or no learning rate.
    """
    optimizer = base_optimizer(model.optimizer)
    name = type(owner).__name__
    check_backend(name, "tensorflow", "jax")
    rate = learning_rate_of(optimizer)
    number = getattr(rate, "number", rate)  # of another callback: `check_ownership` refuses it
    if isinstance(number, keras.optimizers.schedules.LearningRateSchedule) or number is None:
        received = "none" if number is None else type(number).__name__
        raise UserError(
            f"learning_rate: {name} and the optimizer's {received} cannot both set it; expected "
            f"an optimizer with a number, such as {type(optimizer).__name__}(learning_rate=0.1)"
        )
    return put_learning_rate(model, number, steps([_exactly(number)], [], 1), name)


def put_learning_rate(model, present, curve: Curve, owner: str) -> SteeredLearningRate:
    """Replaces `present` by a learning rate that a callback steers, until it is given back.

    Args:
        model: a compiled model.
        present: the optimizer's own learning rate, a variable or a schedule.
        curve: what the new one begins with.
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
    # Not by the optimizer's setter, which would take the number out of `optimizer.variables` and so
    # out of their order in checkpoints.
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
    """Checks that nobody else has taken the learning rate in this `fit`.

    Raises:
        UserError: another callback has; names both.
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
    """Gives the optimizer its number again, which is what it was before."""
    if learning_rate_of(base_optimizer(model.optimizer)) is steered:
        give_back(model, _LEARNING_RATE)


def save_present_rate(optimizer) -> None:
    """Lets a file that is saved during `fit` open with the optimizer's state, and without lbkeras.

    What steers the learning rate is not the optimizer's own: with it in the file, the variables
    that follow would not be those that Keras looks for. The file holds the rate of the next update:
    as the optimizer's number, or, for a plan's schedule, which has none, as one of Keras' own that
    stays there. With a plan, `BatchSizeScheduler` puts the plan's schedule in its place again.
    An optimizer of lbkeras keeps the plan's schedule.

    Args:
        optimizer: without a loss-scaling wrapper; until `save_own_rate`.
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
        values = {}  # a file takes each of them once
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
    """Takes back `save_present_rate`."""
    for name in ("get_config", "save_own_variables"):
        vars(optimizer).pop(name, None)


def take_back_schedule(optimizer, schedule) -> None:
    """Puts a plan's schedule in the place of what `save_present_rate` wrote into a file for it."""
    if getattr(learning_rate_of(optimizer), "name", "") == _OF_A_PLAN:
        set_learning_rate(optimizer, schedule)
