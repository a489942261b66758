"""What goes into a train step on JAX and comes out of it, beside the model's own state.

There a train step is a function of `(trainable, non-trainable, optimizer's, metrics' variables)`,
and only these are kept: a variable of a callback would be a constant of the compiled step. Those
that are carried here are neither saved with the model nor reset with its metrics.
"""

import keras

from lbkeras.keras_internals.model import loss_metric
from lbkeras.keras_internals.names import private

_KEY = "lbkeras.carried"  # under which a model knows what it carries


def carry(model, name: str, variables) -> None:
    """Lets the model's train and test steps hand variables on with those of its loss metric.

    Args:
        model: a compiled `keras.Model`.
        name: of what has them; what a `fit` that broke off has left under it goes.
        variables: Keras variables that the train step may assign.
    """
    drop(model, name)
    vars(model).setdefault(_KEY, {})[name] = [*variables]
    private(loss_metric(model), "_variables").extend(variables)


def drop(model, name: str) -> None:
    """Takes back `carry`, if it was called; the variables keep their values."""
    gone = {id(each) for each in vars(model).get(_KEY, {}).pop(name, ())}
    carried = private(loss_metric(model), "_variables")
    carried[:] = [each for each in carried if id(each) not in gone]


def carry_in_optimizer(optimizer, variables) -> None:
    """Lets the optimizer's update read variables, behind all of its own.

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
    """Takes back `carry_in_optimizer`."""
    present = {id(each) for each in optimizer.variables}
    for variable in variables:
        if id(variable) in present:
            private(optimizer, "_untrack_variable")(variable)
            held = vars(optimizer)[_KEY][""]
            held[:] = [each for each in held if each is not variable]


def own_variables(variables, owner) -> list:
    """Those of a model's metrics or of an optimizer that are their own, in their order.

    Args:
        variables: of the metrics or of the optimizer.
        owner: the model or the optimizer, to which `carry` or `carry_in_optimizer` may have added.
    """
    carried = {id(each) for held in vars(owner).get(_KEY, {}).values() for each in held}
    return [each for each in variables if id(each) not in carried]


def synchronize(model) -> None:
    """Gives the model's variables what the latest step made of them, and the next step these."""
    model.jax_state_sync()


def forget_lost_state(model, state) -> bool:
    """After a step that failed: leaves out of the model what its buffers no longer hold.

    Args:
        model: in whose `fit` the step failed.
        state: what the step got, some of which XLA may have taken for its results.

    Returns:
        Whether the state is lost.
    """
    lost = any(each.is_deleted() for each in keras.tree.flatten(state))
    if lost:
        model._jax_state = None  # which `fit` would assign to the variables
    return lost
