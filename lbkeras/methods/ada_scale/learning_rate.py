"""A learning rate that follows a base schedule at the pace of AdaScale's gain."""

from typing import Any

import keras
import numpy as np
from keras import ops

from lbkeras import checks


@keras.saving.register_keras_serializable(package="lbkeras")
class AdaScaleLearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """AdaScale's learning rate: gain · base(⌊progress⌋); each update adds the gain to progress.

    `lbkeras.callbacks.AdaScale` measures the gain and calls `advance`. Only the rates of the
    previous and of the next update are known: a step after the next one gets the next one's rate, a
    step before the previous one the previous one's. Create the object under the model's strategy.
    It works on the TensorFlow backend only.

    Args:
        base: a learning rate, at least 0, or a Keras schedule over the base run's updates.
        gain: of the next update.
        progress: number of base updates that the updates so far were worth, at least 0.
        owner: name of the caller of `advance`, for messages.

    >>> rate = AdaScaleLearningRate(base=0.1)
    >>> rate.advance(step=0, gain=3.0)
    >>> [round(float(rate(step)), 6) for step in (0, 1)], rate.progress
    ([0.1, 0.3], 1.0)

    Reference: Johnson et al., arXiv:2007.05105, section 3.
    """

    def __init__(
        self,
        base: float | keras.optimizers.schedules.LearningRateSchedule | dict[str, Any],
        gain: float = 1.0,
        progress: float = 0.0,
        owner: str = "",
    ):
        if isinstance(base, dict):
            base = keras.saving.deserialize_keras_object(base)
        self.base = checks.learning_rate("base", base)
        self.owner = owner
        self._state = keras.Variable(
            _before_the_first_update(progress, gain),
            dtype="float64",
            trainable=False,
            synchronization="on_read",
            aggregation="only_first_replica",
            name="ada_scale",
        )

    @property
    def variables(self) -> list:
        """What a checkpoint has to save."""
        return [self._state]

    @property
    def progress(self) -> float:
        """Number of base updates that the updates so far were worth."""
        return float(ops.convert_to_numpy(self._state)[0])

    @property
    def gain(self) -> float:
        """The gain of the next update."""
        return float(ops.convert_to_numpy(self._state)[1])

    def restart(self) -> None:
        """Resets to the state before the first update: progress 0 and gain 1."""
        self._state.assign(_before_the_first_update(progress=0.0, gain=1.0))

    def set_gain(self, gain: float) -> None:
        """Sets the next update's gain; to be called between two updates."""
        state = ops.convert_to_numpy(self._state).copy()
        state[1] = gain
        self._state.assign(state)

    def advance(self, step: Any, gain: Any) -> None:
        """Ends update number `step`; `gain` is the next one's. Called in a replica's graph."""
        state = ops.convert_to_tensor(self._state.value)
        numbers = (state[0] + state[1], gain, self._rate(state), step)
        self._state.assign(ops.stack([ops.cast(number, "float64") for number in numbers]))

    def __call__(self, step):
        """Returns the learning rate of update number `step`, a float32 scalar."""
        state = ops.convert_to_tensor(self._state.value)
        is_done = ops.cast(step, "float64") <= state[3]
        return ops.where(is_done, ops.cast(state[2], "float32"), self._rate(state))

    def _rate(self, state):
        base = self.base
        if callable(base):
            base = base(ops.cast(ops.floor(state[0]), "int64"))
        return ops.cast(state[1], "float32") * ops.cast(base, "float32")

    def get_config(self):
        base = keras.saving.serialize_keras_object(self.base) if callable(self.base) else self.base
        return {"base": base, "gain": self.gain, "progress": self.progress, "owner": self.owner}


def _before_the_first_update(progress: float, gain: float) -> np.ndarray:
    previous_rate, previous_step = 0.0, -1.0
    return np.array([progress, gain, previous_rate, previous_step])
