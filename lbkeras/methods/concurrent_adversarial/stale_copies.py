"""Adversarial copies of each piece of a batch, made with the previous step's weights."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from lbkeras.keras_internals import model as internals
from lbkeras.keras_internals.alone import alone
from lbkeras.methods.concurrent_adversarial.perturbation import perturbed
from lbkeras.methods.micro_batches.passes import set_passes
from lbkeras.methods.micro_batches.pieces import sum_of_gradients
from lbkeras.methods.micro_batches.train_step import micro_batch_train_step


class StaleCopies:
    """Trains on a piece and on adversarial copies of it, each normalized separately.

    With θ the weights and θ' those at the start of the previous step, a piece of a batch adds

        (∇ L(x; θ) + ∇ L(x'; θ)) / 2,   x' = x + epsilon · sign(∇_x L(x; θ'))

    to the gradient, and the mean of both losses to the loss. All three passes are in training mode,
    so batch norm normalizes each by its own batch statistics. The pass on x updates the model's
    moving statistics and metrics. The pass on x' updates separate moving statistics. The pass that
    makes x' updates nothing; the random numbers that it drew are discarded too.

    Args:
        model: built and compiled, with Keras' own train step.
        epsilon: in the unit of the inputs.
    """

    def __init__(self, model: keras.Model, epsilon: float):
        self.model = model
        self._epsilon = epsilon
        self._strategy = model.distribute_strategy
        self._weights = list(model.trainable_variables)
        self._statistics = _moving_statistics(model)
        self._previous = self._copies_of(self._weights)
        self.variables = self._copies_of(self._statistics)

    def _copies_of(self, variables: list) -> list:
        with self._strategy.scope():
            return [
                keras.Variable(keras.ops.convert_to_numpy(v), trainable=False, dtype=v.dtype)
                for v in variables
            ]

    @property
    def saved(self) -> list:
        """What a checkpoint has to save."""
        return [*self._previous, *self.variables]

    def fits(self, model: keras.Model) -> bool:
        """Whether it was made for this model, with the same trainable weights and statistics."""
        now = [*model.trainable_variables, *_moving_statistics(model)]
        mine = [*self._weights, *self._statistics]
        return self.model is model and [*map(id, mine)] == [*map(id, now)]

    def attach(self) -> None:
        """Makes the model's train step use it, until `detach`."""
        self._step = micro_batch_train_step(self.model, None)
        set_passes(self.model, self)
        vars(self.model)["train_step"] = self._step
        self.model.train_function = None

    def detach(self) -> None:
        """Restores the model's train step."""
        set_passes(self.model, None)
        if vars(self.model).get("train_step") is self._step:  # gradient statistics may wrap it
            del vars(self.model)["train_step"]
        self.model.train_function = None

    def begin_anew(self) -> None:
        """Sets the previous weights to the current ones, the copies' statistics to the model's."""
        for copies, variables in self._pairs():
            for copy, variable in zip(copies, variables, strict=True):
                copy.assign(keras.ops.convert_to_numpy(variable))

    def _pairs(self):
        return (self._previous, self._weights), (self.variables, self._statistics)

    @contextlib.contextmanager
    def statistics_in_use(self) -> Iterator[None]:
        """In this context the model predicts with the copies' moving statistics."""
        before = [keras.ops.convert_to_numpy(v) for v in self._statistics]
        try:
            for variable, copy in zip(self._statistics, self.variables, strict=True):
                variable.assign(keras.ops.convert_to_numpy(copy))
            yield
        finally:
            for variable, value in zip(self._statistics, before, strict=True):
                variable.assign(value)

    # The train step, in a replica.

    def __call__(self, one_pass, data, variables: list, state: list) -> tuple:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        first = len(variables) - len(self.variables)  # index of the copies' first statistic
        places = {id(variable): i for i, variable in enumerate(variables)}
        theirs = [places[id(variable)] for variable in self._statistics]
        with internals.float_inputs(self.model):
            copies = self._copies(x, y, sample_weight, variables, state)
            gradients, clean, losses = one_pass(data, state)
            given = list(clean)
            for place, value in zip(theirs, state[first:], strict=True):
                given[place] = value
            others, after, more = one_pass((copies, y, sample_weight), given)
        # Random generators and the like advance in both passes; metrics are the clean examples'.
        metrics = [places[id(v)] for v in self.model.metrics_variables if id(v) in places]
        result = [*after[:first], *(after[place] for place in theirs)]
        for place in (*theirs, *metrics):
            result[place] = clean[place]
        gradients = map(sum_of_gradients, gradients, others)
        gradients = [None if gradient is None else gradient / 2 for gradient in gradients]
        return gradients, result, [(a + b) / 2 for a, b in zip(losses, more, strict=True)]

    def _copies(self, x, y, sample_weight, variables: list, state: list):
        model = self.model
        mapping = [
            *zip(self._weights, self._weights_of_copies(), strict=True),
            *zip(variables, state, strict=True),
        ]

        def loss_of(inputs):
            # Only the sign matters, so no replica needs the other replicas' part of a mean.
            with keras.StatelessScope(mapping, collect_losses=True), alone():
                y_pred = internals.call_for_training(model, inputs)
                loss = internals.compute_loss(model, inputs, y, y_pred, sample_weight)
            return model.optimizer.scale_loss(loss)

        return tf.nest.map_structure(
            lambda part: None if part is None else tf.stop_gradient(part),
            perturbed(x, self._epsilon, loss_of),
        )

    def _weights_of_copies(self) -> list:
        return [tf.convert_to_tensor(copy.value) for copy in self._previous]

    def before_update(self, variables: list, state: list) -> list:
        for copy, weight in zip(self._previous, self._weights, strict=True):
            copy.assign(weight.value)
        context = tf.distribute.get_replica_context()
        if not self.variables or context.num_replicas_in_sync == 1:
            return state
        first = len(state) - len(self.variables)
        means = context.all_reduce(tf.distribute.ReduceOp.MEAN, state[first:])
        return [*state[:first], *means]  # equal on all replicas, so a checkpoint can save them


def _moving_statistics(model) -> list:
    """Returns the moving statistics that training updates."""
    return [
        variable
        for layer in internals.layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
