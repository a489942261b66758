"""Carries variables of callbacks through train steps on JAX.

On JAX a train step is a function of the trainable, non-trainable, optimizer and metric variables,
and returns only these. Any other variable, such as a callback's, would be a constant of the
compiled step. Variables carried here are neither saved with the model nor reset with its metrics.
"""

import keras

from lbkeras.keras_internals.model import loss_metric
from lbkeras.keras_internals.names import private

_KEY = "lbkeras.carried"  # attribute with the carried variables of a model or optimizer


def carry(model, name: str, variables) -> None:
    """Makes train and test steps pass on variables together with those of the loss metric.

    Args:
        model: a compiled `keras.Model`.
        name: name of the variables' owner; variables that an interrupted `fit` left under it are
            dropped first.
        variables: Keras variables that the train step may assign.
    """
    drop(model, name)
    vars(model).setdefault(_KEY, {})[name] = [*variables]
    private(loss_metric(model), "_variables").extend(variables)


def drop(model, name: str) -> None:
    """Undoes `carry`, if it was called; the variables keep their values."""
    gone = {id(each) for each in vars(model).get(_KEY, {}).pop(name, ())}
    carried = private(loss_metric(model), "_variables")
    carried[:] = [each for each in carried if id(each) not in gone]


def carry_in_optimizer(optimizer, variables) -> None:
    """Makes variables readable in the optimizer's update, by appending them to its own variables.

    Args:
        optimizer: built, without a loss-scaling wrapper.
        variables: Keras variables.
    """
    present = {id(each) for each in optimizer.variables}
    for variable in variables:
        if id(variable) not in present:
            private(optimizer, "_track_variable")(variable)
            vars(optimizer).setdefault(_KEY, {}).setdefault("", []).append(variable)


def drop_from_optimizer(optimizer, variables) -> None:
    """Undoes `carry_in_optimizer`."""
    present = {id(each) for each in optimizer.variables}
    for variable in variables:
        if id(variable) in present:
            private(optimizer, "_untrack_variable")(variable)
            held = vars(optimizer)[_KEY][""]
            held[:] = [each for each in held if each is not variable]


def own_variables(variables, owner) -> list:
    """Returns the variables of a model's metrics or of an optimizer that are not carried, in order.

    Args:
        variables: variables of the metrics or of the optimizer.
        owner: the model or the optimizer, which may carry others as well.
    """
    carried = {id(each) for held in vars(owner).get(_KEY, {}).values() for each in held}
    return [each for each in variables if id(each) not in carried]


def synchronize(model) -> None:
    """Assigns the latest step's results to the model's variables; the next step reads these."""
    model.jax_state_sync()


def forget_lost_state(model, state) -> bool:
    """Discards the state of a failed step if its buffers no longer exist.

    Args:
        model: the model in whose `fit` the step failed.
        state: the step's input state; XLA may have reused some of its buffers for results.

    Returns:
        Whether the state is lost.
    """
    lost = any(each.is_deleted() for each in keras.tree.flatten(state))
    if lost:
        model._jax_state = None  # otherwise `fit` would assign it to the variables
    return lost
