"""Private parts of a Keras optimizer, and the parts of its update that can be replaced."""

import keras

from lbkeras.keras_internals.names import private


def learning_rate_of(optimizer):
    """Returns the learning rate as the optimizer holds it: a schedule, a variable or a function.

    `optimizer.learning_rate` would return a schedule's current value instead.
    """
    return private(optimizer, "_learning_rate")


def set_learning_rate(optimizer, value) -> None:
    """Replaces the optimizer's learning rate; the old one is not kept."""
    private(optimizer, "_learning_rate")
    optimizer._learning_rate = value


def give_learning_rate(optimizer, value) -> None:
    """Sets a number or a schedule in an optimizer that is not built, as its constructor would.

    Args:
        optimizer: without a loss-scaling wrapper.
        value: a float or a `keras.optimizers.schedules.LearningRateSchedule`.
    """
    schedules = keras.optimizers.schedules.LearningRateSchedule
    if isinstance(value, schedules) or isinstance(learning_rate_of(optimizer), keras.Variable):
        optimizer.learning_rate = value
        return
    variable = keras.Variable(value, trainable=False, dtype="float32", name="learning_rate")
    private(optimizer, "_track_variable")(variable)
    set_learning_rate(optimizer, variable)


def variable_index(optimizer, variable) -> int:
    """Returns a trainable variable's index among those that the optimizer was built with."""
    return private(optimizer, "_get_variable_index")(variable)


def trained_variables(optimizer) -> list:
    """Returns the variables that the optimizer was built with."""
    return private(optimizer, "_trainable_variables")


def second_moments(optimizer) -> list:
    """Returns the moving averages of squared gradients of Keras' Adam and its variants.

    The order is that of `variable_index`.
    """
    return private(optimizer, "_velocities")


def clip(optimizer, gradients):
    """Clips by `clipnorm`, `clipvalue` or `global_clipnorm` as unpatched Keras does."""
    return _keras_clip()(optimizer, gradients)


def clips_before_sum() -> bool:
    """Whether each replica clips its own gradients, as unpatched Keras does."""
    return keras.optimizers.Optimizer._clip_gradients is _keras_clip()


def sums_over_replicas(optimizer) -> bool:
    """Whether the optimizer's class sums the replicas' gradients as Keras does."""
    name = "_all_reduce_sum_gradients"
    return private(type(optimizer), name) is private(keras.optimizers.Optimizer, name)


def replace_apply(optimizer, apply):
    """Makes the optimizer call `apply(gradients, variables)` with the clipped gradients.

    In each replica this replaces weight decay, the update, moving averages and the change of
    `iterations`, until `restore_apply_and_sum` is called.

    Returns:
        The optimizer's own function, which `apply` can call.
    """
    own = private(optimizer, "_backend_apply_gradients")
    vars(optimizer)["_backend_apply_gradients"] = apply
    return own


def replace_sum(optimizer, sum_gradients) -> None:
    """Makes the optimizer call `sum_gradients(gradients_and_variables)` to sum over replicas."""
    private(optimizer, "_all_reduce_sum_gradients")
    vars(optimizer)["_all_reduce_sum_gradients"] = sum_gradients


def restore_apply_and_sum(optimizer) -> None:
    """Undoes `replace_apply` and `replace_sum`."""
    for name in ("_backend_apply_gradients", "_all_reduce_sum_gradients"):
        vars(optimizer).pop(name, None)


class OwnWeightDecay(keras.optimizers.Optimizer):
    """An optimizer whose `update_step` applies the weight decay instead of Keras."""

    def __init__(self, *arguments, **keywords):
        private(keras.optimizers.Optimizer, "_apply_weight_decay")  # without it: decay twice
        super().__init__(*arguments, **keywords)

    def _apply_weight_decay(self, variables):
        """Does nothing: `update_step` applies the decay."""


class OwnLoop(keras.optimizers.Optimizer):
    """An optimizer that itself updates all variables of a replica, for example together."""

    def __init__(self, *arguments, **keywords):
        private(keras.optimizers.Optimizer, "_backend_update_step")
        super().__init__(*arguments, **keywords)

    def update_variables(self, gradients, variables, learning_rate) -> None:
        """Updates all variables; by default one after another, with `update_step`."""
        super()._backend_update_step(gradients, variables, learning_rate)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        self.update_variables(grads, trainable_variables, learning_rate)


class OwnClipping(keras.optimizers.Optimizer):
    """An optimizer that itself clips the gradients of a replica, in `clip_gradients`."""

    def __init__(self, *arguments, **keywords):
        private(keras.optimizers.Optimizer, "_clip_gradients")
        super().__init__(*arguments, **keywords)

    def clip_gradients(self, gradients) -> list:
        """Returns the clipped gradients of one replica; by default clipped as Keras does."""
        return clip(self, gradients)

    @property
    def num_replicas_in_sync(self) -> int:
        """Number of replicas of the strategy it was created in; 1 on backends but TensorFlow."""
        if keras.backend.backend() != "tensorflow":
            return 1
        return private(self, "_distribution_strategy").num_replicas_in_sync

    def _clip_gradients(self, grads):
        return self.clip_gradients(grads)


def _keras_clip():
    """Returns the function of Keras' base class; only the backend's class is patched."""
    private(keras.optimizers.Optimizer, "_clip_gradients")
    bases = [each for each in keras.optimizers.Optimizer.__mro__ if "_clip_gradients" in vars(each)]
    return vars(bases[-1])["_clip_gradients"]
