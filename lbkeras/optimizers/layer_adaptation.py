"""What LARS and LAMB share: a trust ratio for each layer, where it applies, and how to read it."""

import collections

from keras import ops

from lbkeras.keras_internals.optimizer import OwnLoop, trained_variables, variable_index
from lbkeras.optimizers import norms
from lbkeras.optimizers.base import WideRule, dense, variable_path, wide


class LayerAdaptation(WideRule, OwnLoop):
    """A rule whose step is scaled by a trust ratio for each variable.

    A subclass says what a variable's step is before it is scaled (`direction`), and takes it
    (`take_step`).

    Excluded by default, from scaling and from weight decay: variables of rank <= 1, which are
    biases and the scales and offsets of batch normalisation.
    """

    _EXCLUSIONS = ("weight_decay", "layer_adaptation")
    _EXCLUDED_RANK = 1

    def exclude_from_layer_adaptation(self, var_list=None, var_names=None):
        """Excludes variables from the trust ratio, beside those of rank <= 1.

        Without a variable and a name it drops every exclusion from layer adaptation, that of rank
        <= 1 too.

        Args:
            var_list: Keras variables.
            var_names: regular expressions, searched in `variable.path`, for example "head/kernel".

        Raises:
            UserError: after `build`, or not variables or regular expressions; at `build`: a
                pattern that fits no variable.
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
        """One update of one variable."""
        index, direction = self._direction(gradient, variable)
        lengths = None
        if self._adapted[index]:
            (lengths,) = norms.l2_norms([self._compared(index, direction, variable)])
        self.take_step(index, variable, direction, lengths, learning_rate)

    def update_variables(self, gradients, variables, learning_rate):
        """One update of all variables, on a GPU the norms of all of them together."""
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
        """The step of variable `index` before it is scaled, from its dense gradient."""
        raise NotImplementedError

    def compared_with_weights(self, index: int, direction, variable):
        """What the trust ratio compares with the weights: as it is, the direction."""
        return direction

    def take_step(self, index: int, variable, direction, lengths, learning_rate) -> None:
        """Updates a variable along its direction.

        Args:
            index: of the variable.
            variable: the variable.
            direction: what `direction` returned.
            lengths: the norms of the weights and of what is compared with them; None where the
                variable is excluded from layer adaptation.
            learning_rate: of this update.
        """
        raise NotImplementedError

    def _direction(self, gradient, variable):
        index = variable_index(self, variable)
        return index, self.direction(index, wide(dense(gradient, variable)), variable)

    def _compared(self, index, direction, variable):
        return wide(variable), self.compared_with_weights(index, direction, variable)

    def trust_ratios(self) -> dict[str, float]:
        """The trust ratio of the latest update by variable path, 1.0 before the first.

        Of variables with the same path (Keras' loaded nested models have such) the second is
        `path_2`, and so on.

        Each is a scalar that the update stores anyway, so reading costs a copy of a few numbers.
        Variables that are excluded have none.
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
    """`ratio`, or 1 where the weights or the update have no length to compare."""
    usable = ops.logical_and(weight_norm > 0, update_norm > 0)
    return ops.where(usable, ratio, ops.ones_like(ratio))
