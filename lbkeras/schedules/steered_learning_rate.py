"""A learning rate computed in the graph, whose curve a callback may change between epochs."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.schedules.curve import Curve
from lbkeras.schedules.decays import steps
from lbkeras.schedules.epoch_learning_rate import (
    FLOATS,
    INTEGERS,
    learning_rate_at,
    learning_rate_table,
)

_ROWS = 16


@keras.saving.register_keras_serializable(package="lbkeras")
class SteeredLearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """A `Curve` over epochs, evaluated at each update, which `set_curve` can replace.

    With the arguments of the latest call of `set_curve`,

        epoch = first_epoch + (step − first_update) / steps_per_epoch

    as in `EpochLearningRateSchedule`. The table of that schedule is kept in variables, so that a
    new curve or batch size causes no retracing. Create the schedule under the model's strategy. On
    JAX, which counts updates in int32, pass its `variables` to the optimizer's update together with
    the optimizer's own.

    Cost: about 40 scalar operations per update.

    Args:
        curve: `Curve`, or what its `to_list` returned. None: the learning rate is 0 until
            `set_curve` is called.
        first_update: as for `set_curve`.
        first_epoch: as for `set_curve`.
        steps_per_epoch: as for `set_curve`.
        owner: name of the callback that calls `set_curve`, for messages.

    >>> from lbkeras.schedules import linear_to_zero
    >>> rate = SteeredLearningRate()
    >>> rate.set_curve(linear_to_zero(0.4, 4), first_update=30, first_epoch=2, steps_per_epoch=10)
    >>> round(float(rate(35)), 7)
    0.15
    """

    def __init__(
        self,
        curve: Curve | Sequence[Mapping[str, Any]] | None = None,
        first_update: int = 0,
        first_epoch: int = 0,
        steps_per_epoch: int = 1,
        owner: str = "",
    ):
        self.owner = checks.text("owner", owner)
        self._counts_in = "int64" if keras.backend.backend() == "tensorflow" else "int32"
        self._integers, self._floats = (
            keras.Variable(np.zeros((_ROWS, len(names))), dtype=dtype, trainable=False, name=name)
            for names, dtype, name in (
                (INTEGERS, self._counts_in, "learning_rate_updates"),
                (FLOATS, "float32", "learning_rate_curve"),
            )
        )
        if curve is None:
            curve = steps([0.0], [], 1)
        elif not isinstance(curve, Curve):
            curve = Curve.from_list(curve)
        self.set_curve(curve, first_update, first_epoch, steps_per_epoch)

    def set_curve(
        self, curve: Curve, first_update: int, first_epoch: float, steps_per_epoch: int
    ) -> None:
        """Sets the curve for the updates from `first_update` on.

        Args:
            curve: `Curve` over epochs.
            first_update: number of the update (from 0) that begins at `first_epoch`.
            first_epoch: epoch on the curve at `first_update`.
            steps_per_epoch: updates per epoch, at least 1.

        Raises:
            UserError: the curve has more segments within one epoch of `first_update` than the table
                has rows.
        """
        if not isinstance(curve, Curve):
            raise UserError(f"curve: expected a Curve, received {curve!r}")
        self._followed = (
            curve,
            checks.integer("first_update", first_update, minimum=0),
            checks.not_negative("first_epoch", first_epoch),
            checks.integer("steps_per_epoch", steps_per_epoch, minimum=1),
        )
        integers, floats = learning_rate_table(curve, [self._followed[1:]])
        if len(integers) > _ROWS and integers[_ROWS, 0] < first_update + steps_per_epoch:
            raise UserError(
                f"curve: expected at most {_ROWS} segments per epoch, received more in epoch "
                f"{first_epoch:g}"
            )
        integers, floats = integers[:_ROWS], floats[:_ROWS]
        padding = ((0, _ROWS - len(integers)), (0, 0))
        integers = np.pad(integers, padding, constant_values=np.iinfo(np.int64).max)
        most = np.iinfo(self._counts_in).max  # no run has so many updates
        self._integers.assign(np.clip(integers, -most, most).astype(self._counts_in))
        self._floats.assign(np.pad(floats, padding, mode="edge"))

    def __call__(self, step):
        """Returns the learning rate of update number `step` (from 0), a float32 scalar."""
        step = ops.cast(step, self._counts_in)
        return learning_rate_at(step, self._integers.value, self._floats.value)

    @property
    def variables(self) -> list:
        """The variables that hold the table."""
        return [self._integers, self._floats]

    def get_config(self):
        curve, first_update, first_epoch, steps_per_epoch = self._followed
        return {
            "curve": curve.to_list(),
            "first_update": first_update,
            "first_epoch": first_epoch,
            "steps_per_epoch": steps_per_epoch,
            "owner": self.owner,
        }
