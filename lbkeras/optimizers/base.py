"""Shared by the optimizers: weight decay inside the update rule, and exclusions that are saved."""

import re
from typing import Any

import keras
from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.keras_internals.optimizer import OwnWeightDecay

_NO_EXCLUSIONS: dict[str, Any] = {"names": [], "paths": [], "positions": [], "num_variables": 0}


class RuleWithWeightDecay(OwnWeightDecay):
    """A Keras optimizer whose update rule applies the weight decay itself.

    Keras' base class applies `weight_decay` before the rule, so trust ratios and momentum do not
    see it, and loses the exclusions when a model is saved. Here `update_step` gets the decay from
    `decay_of(index)`, and the exclusions are part of the config.

    A subclass implements `update_step` and calls `super().build` before it creates its own
    variables.
    """

    _EXCLUSIONS = ("weight_decay",)  # what variables can be excluded from
    _EXCLUDED_RANK = -1  # by default, variables up to this rank are excluded from all of these

    def __init__(self, learning_rate, weight_decay=0.0, **kwargs):
        weight_decay = 0.0 if weight_decay is None else weight_decay
        weight_decay = checks.not_negative("weight_decay", weight_decay)
        super().__init__(
            checks.learning_rate("learning_rate", learning_rate),
            weight_decay=weight_decay,
            **kwargs,
        )
        self._exclusions = {what: dict(_NO_EXCLUSIONS) for what in self._EXCLUSIONS}

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Excludes variables from weight decay, in addition to those excluded by default.

        A call without arguments removes all exclusions from weight decay, including the default.

        Args:
            var_list: Keras variables.
            var_names: regular expressions to search for in `variable.path`, such as
                "head/kernel".

        Raises:
            UserError: it is called after `build`, or an argument is not a list of variables or of
                regular expressions. `build` raises it if a pattern matches no variable.
        """
        self._exclude("weight_decay", var_list, var_names)

    def build(self, variables):
        """Creates the slot variables. Called by `fit`, `apply` and when a model is loaded.

        Raises:
            UserError: an exclusion's pattern matches none of the variables.
        """
        if self.built:
            return
        super().build(variables)
        self._decayed = self._not_excluded("weight_decay", variables)

    def decay_of(self, index: int) -> float:
        """Returns the weight decay of variable `index`: `weight_decay`, or 0 if it is excluded."""
        return self.weight_decay if self._decayed[index] else 0.0

    def get_config(self):
        config = super().get_config()
        return config | {f"exclude_from_{what}": e for what, e in self._exclusions.items()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        exclusions = {
            what: config.pop(f"exclude_from_{what}", dict(_NO_EXCLUSIONS))
            for what in cls._EXCLUSIONS
        }
        optimizer = super().from_config(config, custom_objects)
        optimizer._exclusions = exclusions
        return optimizer

    def _exclude(self, what: str, var_list, var_names) -> None:
        if self.built:
            raise UserError(
                f"exclude_from_{what}: expected to be called before the optimizer is built, "
                "received a call after it"
            )
        for variable in var_list or ():
            if not hasattr(variable, "path"):
                raise UserError(f"var_list: expected Keras variables, received {variable!r}")
        paths = [variable.path for variable in var_list or ()]
        names = checks.sequence("var_names", var_names or ())
        for name in names:
            try:
                re.compile(name)
            except (re.error, TypeError):
                raise UserError(
                    f"var_names: expected regular expressions, received {name!r}"
                ) from None
        old = self._exclusions[what] or _NO_EXCLUSIONS
        new = {"names": [*old["names"], *names], "paths": [*old["paths"], *paths]}
        new = {**_NO_EXCLUSIONS, **new} if names or paths else None
        self._exclusions = self._exclusions | {what: new}

    def _not_excluded(self, what: str, variables) -> tuple[bool, ...]:
        """Returns for each variable whether `what` applies to it.

        In a loaded model the paths may lack the names of the enclosing models, so that two
        variables have the same path. Therefore the config of a built optimizer stores the positions
        of the excluded variables, and a loaded optimizer uses them.
        """
        exclusions = self._exclusions[what]
        if exclusions is None:
            return (True,) * len(variables)
        if exclusions["num_variables"] != len(variables):
            positions = self._positions(what, exclusions, variables)
            exclusions = exclusions | {"positions": positions, "num_variables": len(variables)}
            self._exclusions = self._exclusions | {what: exclusions}
        return tuple(
            len(variable.shape) > self._EXCLUDED_RANK and position not in exclusions["positions"]
            for position, variable in enumerate(variables)
        )

    def _positions(self, what: str, exclusions: dict, variables) -> list[int]:
        """Returns the positions of the variables that an exclusion's names and paths match."""
        paths = [variable_path(variable) for variable in variables]
        found = set()
        for key, fits in (("names", re.search), ("paths", str.__eq__)):
            for wanted in exclusions[key]:
                hits = {position for position, path in enumerate(paths) if fits(wanted, path)}
                if not hits and not exclusions["num_variables"]:
                    raise UserError(
                        f"exclude_from_{what}: expected a pattern that matches a variable, "
                        f"received {wanted!r}; the variables are {_listed(paths)}"
                    )
                found |= hits
        return sorted(found)


class WideRule(RuleWithWeightDecay):
    """A rule that computes and keeps its slots in at least float32, whatever the variable's dtype.

    float16 cannot represent 1e-8 and rounds the squares of small gradients to 0. float64 variables
    are computed in float64.
    """

    def add_variable(self, shape, initializer="zeros", dtype=None, *arguments, **keywords):
        """Creates a slot variable as Keras does, in float32 for a half-precision variable."""
        if dtype is not None and keras.backend.standardize_dtype(dtype) in ("float16", "bfloat16"):
            dtype = "float32"
        return super().add_variable(shape, initializer, dtype, *arguments, **keywords)


def wide_dtype(x) -> str:
    """Returns "float64" if `x` is float64, otherwise "float32"."""
    return "float64" if keras.backend.standardize_dtype(x.dtype) == "float64" else "float32"


def wide(x):
    """Casts a variable or tensor to its `wide_dtype`."""
    return ops.cast(ops.convert_to_tensor(x), wide_dtype(x))


def dense(gradient, variable):
    """Returns the gradient as a dense tensor of the variable's dtype.

    An embedding's gradient is a `tf.IndexedSlices`, which may contain a row several times. Norms
    and squares need the sum of these entries.
    """
    if hasattr(gradient, "indices") and hasattr(gradient, "values"):
        rows = ops.expand_dims(gradient.indices, -1)
        gradient = ops.scatter(rows, ops.convert_to_tensor(gradient.values), variable.shape)
    return ops.cast(gradient, variable.dtype)


def variable_path(variable) -> str:
    """Returns the variable's path in the model, or its name if it is not a Keras variable."""
    return getattr(variable, "path", variable.name)


def _listed(paths) -> str:
    shown = ", ".join(paths[:8])
    return shown if len(paths) <= 8 else f"{shown}, and {len(paths) - 8} more"
