"""What a Keras optimizer keeps to itself, and where its update can be replaced."""

import keras

from lbkeras.keras_internals.names import private


def learning_rate_of(optimizer):
    """The learning rate as the optimizer holds it: a schedule, a variable or a function.

    `optimizer.learning_rate` gives a schedule's present value instead.
    """
    return private(optimizer, "_learning_rate")


def set_learning_rate(optimizer, value) -> None:
    """Puts a learning rate in the place of the optimizer's own, which is forgotten."""
    private(optimizer, "_learning_rate")
    optimizer._learning_rate = value


def give_learning_rate(optimizer, value) -> None:
    """Gives an optimizer that is not built a number or a schedule, as its constructor would.

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
    """The place of a trainable variable among those that the optimizer was built with."""
    return private(optimizer, "_get_variable_index")(variable)


def trained_variables(optimizer) -> list:
    """The variables that the optimizer was built with."""
    return private(optimizer, "_trainable_variables")


def second_moments(optimizer) -> list:
    """The running means of squared gradients of Keras' Adam and its kin, by `variable_index`."""
    return private(optimizer, "_velocities")


def clip(optimizer, gradients):
    """Keras' own clipping by `clipnorm`, `clipvalue` or `global_clipnorm`, without our patch."""
    return _keras_clip()(optimizer, gradients)


def clips_before_sum() -> bool:
    """Whether each replica clips its own gradients, as Keras does where it is not patched."""
    return keras.optimizers.Optimizer._clip_gradients is _keras_clip()


def sums_over_replicas(optimizer) -> bool:
    """Whether its class sums the replicas' gradients as Keras does."""
    name = "_all_reduce_sum_gradients"
    return private(type(optimizer), name) is private(keras.optimizers.Optimizer, name)


def replace_apply(optimizer, apply):
    """Calls `apply(gradients, variables)` in place of what applies clipped gradients.

    It takes the place of weight decay, update, moving averages and `iterations`, in each replica,
    until `restore_apply_and_sum`.

    Returns:
        The optimizer's own function, for `apply` to call.
    """
    own = private(optimizer, "_backend_apply_gradients")
    vars(optimizer)["_backend_apply_gradients"] = apply
    return own


def replace_sum(optimizer, sum_gradients) -> None:
    """Calls `sum_gradients(gradients_and_variables)` in place of the sum over replicas."""
    private(optimizer, "_all_reduce_sum_gradients")
    vars(optimizer)["_all_reduce_sum_gradients"] = sum_gradients


def restore_apply_and_sum(optimizer) -> None:
    """Takes back `replace_apply` and `replace_sum`."""
    for name in ("_backend_apply_gradients", "_all_reduce_sum_gradients"):
        vars(optimizer).pop(name, None)


class OwnWeightDecay(keras.optimizers.Optimizer):
    """An optimizer whose `update_step` applies the weight decay, which Keras leaves to it."""

    def __init__(self, *arguments, **keywords):
        private(keras.optimizers.Optimizer, "_apply_weight_decay")  # or it would decay twice
        super().__init__(*arguments, **keywords)

    def _apply_weight_decay(self, variables):
        """Nothing: `update_step` does it."""


class OwnLoop(keras.optimizers.Optimizer):
    """An optimizer that updates all variables of one replica by itself, for example together."""

    def __init__(self, *arguments, **keywords):
        private(keras.optimizers.Optimizer, "_backend_update_step")
        super().__init__(*arguments, **keywords)

    def update_variables(self, gradients, variables, learning_rate) -> None:
        """Updates all variables: as it is, with `update_step`, one after another."""
        super()._backend_update_step(gradients, variables, learning_rate)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        self.update_variables(grads, trainable_variables, learning_rate)


class OwnClipping(keras.optimizers.Optimizer):
    """An optimizer that clips the gradients of a replica by itself, in `clip_gradients`."""

    def __init__(self, *arguments, **keywords):
        private(keras.optimizers.Optimizer, "_clip_gradients")
        super().__init__(*arguments, **keywords)

    def clip_gradients(self, gradients) -> list:
        """The gradients of one replica, clipped: as it is, by Keras' own rule."""
        return clip(self, gradients)

    @property
    def num_replicas_in_sync(self) -> int:
        """Replicas of the strategy under which it was made; 1 on backends other than TensorFlow."""
        if keras.backend.backend() != "tensorflow":
            return 1
        return private(self, "_distribution_strategy").num_replicas_in_sync

    def _clip_gradients(self, grads):
        return self.clip_gradients(grads)


def _keras_clip():
    """The function of Keras' base class, which stays where the backend's class is patched."""
    private(keras.optimizers.Optimizer, "_clip_gradients")
    bases = [each for each in keras.optimizers.Optimizer.__mro__ if "_clip_gradients" in vars(each)]
    return vars(bases[-1])["_clip_gradients"]
