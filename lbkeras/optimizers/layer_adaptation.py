"""Shared by LARS and LAMB: trust ratios per layer, what is excluded from them, reading them."""

import collections

from keras import ops

from lbkeras.keras_internals.optimizer import OwnLoop, trained_variables, variable_index
from lbkeras.optimizers import norms
from lbkeras.optimizers.base import WideRule, dense, variable_path, wide


class LayerAdaptation(WideRule, OwnLoop):
    """A rule that scales the step of each variable by a trust ratio.

    A subclass implements `direction`, which returns a variable's unscaled step, and `take_step`,
    which scales the step and updates the variable.

    Variables of rank <= 1 (biases, and the scales and offsets of batch norm) are excluded from
    scaling and from weight decay by default.
    """

    _EXCLUSIONS = ("weight_decay", "layer_adaptation")
    _EXCLUDED_RANK = 1

    def exclude_from_layer_adaptation(self, var_list=None, var_names=None):
        """Excludes variables from layer adaptation, in addition to those of rank <= 1.

        A call without arguments removes all exclusions from layer adaptation, including that of
        rank <= 1.

        Args:
            var_list: Keras variables.
            var_names: regular expressions to search for in `variable.path`, such as
                "head/kernel".

        Raises:
            UserError: it is called after `build`, or an argument is not a list of variables or of
                regular expressions. `build` raises it if a pattern matches no variable.
        """
        self._exclude("layer_adaptation", var_list, var_names)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._adapted = self._not_excluded("layer_adaptation", variables)
        self._ratios = [
            self.add_variable(
                shape=(),
                initializer="ones",
                dtype="float32",
                name=f"{variable_path(variable).replace('/', '_')}_trust_ratio",
            )
            if adapted
            else None
            for variable, adapted in zip(variables, self._adapted, strict=True)
        ]

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        index, direction = self._direction(gradient, variable)
        lengths = None
        if self._adapted[index]:
            (lengths,) = norms.l2_norms([self._compared(index, direction, variable)])
        self.take_step(index, variable, direction, lengths, learning_rate)

    def update_variables(self, gradients, variables, learning_rate):
        """Updates all variables; on a GPU the norms of all of them are computed together."""
        if not norms.on_gpu():
            super().update_variables(gradients, variables, learning_rate)
            return
        steps, compared = [], []
        for gradient, variable in zip(gradients, variables, strict=True):
            index, direction = self._direction(gradient, variable)
            steps.append((index, variable, direction))
            if self._adapted[index]:
                compared.append(self._compared(index, direction, variable))
        lengths = iter(norms.l2_norms(compared))
        for index, variable, direction in steps:
            two = next(lengths) if self._adapted[index] else None
            self.take_step(index, variable, direction, two, learning_rate)

    def direction(self, index: int, gradient, variable):
        """Returns the unscaled step of variable `index`, from its dense gradient."""
        raise NotImplementedError

    def compared_with_weights(self, index: int, direction, variable):
        """Returns the tensor whose norm the trust ratio uses with that of the weights.

        By default this is the direction.
        """
        return direction

    def take_step(self, index: int, variable, direction, lengths, learning_rate) -> None:
        """Updates a variable along its direction.

        Args:
            index: index of the variable.
            variable: the variable.
            direction: return value of `direction`.
            lengths: the norms of the weights and of what `compared_with_weights` returned; None if
                the variable is excluded from layer adaptation.
            learning_rate: learning rate of this update.
        """
        raise NotImplementedError

    def _direction(self, gradient, variable):
        index = variable_index(self, variable)
        return index, self.direction(index, wide(dense(gradient, variable)), variable)

    def _compared(self, index, direction, variable):
        return wide(variable), self.compared_with_weights(index, direction, variable)

    def trust_ratios(self) -> dict[str, float]:
        """Returns the trust ratios of the latest update by variable path, 1.0 before the first.

        Excluded variables are left out. If several variables have the same path, as can happen in
        nested models that Keras has loaded, the second is named `path_2`, and so on.

        Every update stores the ratios, so a call only copies one scalar per variable.
        """
        if not self.built:
            return {}
        ratios, seen = {}, collections.Counter()
        for variable, ratio in zip(trained_variables(self), self._ratios, strict=True):
            if ratio is not None:
                path = variable_path(variable)
                seen[path] += 1
                name = path if seen[path] == 1 else f"{path}_{seen[path]}"
                ratios[name] = float(ops.convert_to_numpy(ratio))
        return ratios

    def remember_ratio(self, index: int, ratio) -> None:
        """Stores a variable's trust ratio for `trust_ratios`."""
        self.assign(self._ratios[index], ops.cast(ratio, "float32"))


def trust_ratio(weight_norm, update_norm, ratio):
    """Returns `ratio`, or 1 where the norm of the weights or of the update is 0."""
    usable = ops.logical_and(weight_norm > 0, update_norm > 0)
    return ops.where(usable, ratio, ops.ones_like(ratio))
