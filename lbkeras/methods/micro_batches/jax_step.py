"""The train step in micro-batches for JAX."""

import operator
from typing import Any

import jax
import keras
from jax import numpy as jnp

from lbkeras.errors import UserError
from lbkeras.keras_internals import compiled_loss
from lbkeras.keras_internals import model as internals
from lbkeras.methods.micro_batches.jax_pieces import (
    count_devices,
    examples_of,
    stacked_and_rest,
)
from lbkeras.methods.micro_batches.losses import (
    PieceLosses,
    WholeBatchNeeded,
    scalar,
    share_of_additional_loss,
)
from lbkeras.methods.noise_scale.pieces_statistics import statistics_of

# On a CPU, XLA computes the gradients of convolutions about 25 times slower inside a loop.
_MOST_UNROLLED = 16


class TrainStep:
    """A pure function `(state, data) -> (logs, state)`, like Keras' own train step on JAX.

    The micro-batches go through a `lax.scan`, so that only one is in memory at a time; a smaller
    last one follows the scan. On a CPU, up to 16 micro-batches are unrolled, since XLA compiles
    loops badly there. With `keras.distribution.DataParallel` a micro-batch has `micro_batch_size`
    examples of each device, and no example leaves its device.

    Args:
        model: a compiled and built `keras.Model` with Keras' own train step.
        micro_batch_size: examples per device in a micro-batch; None: undivided.
    """

    def __init__(self, model, micro_batch_size: int | None):
        self._model = model
        self._micro_batch_size = micro_batch_size
        self._activity_losses_are_sums = internals.activity_losses_are_sums()

    def __call__(self, state: tuple, data: Any) -> tuple:
        step = _Step(self._model, state, self._activity_losses_are_sums)
        return step.run(data, self._micro_batch_size)


class _Step:
    """One step while it is traced: the model's variables and their values before the step."""

    def __init__(self, model, state: tuple, activity_losses_are_sums: bool):
        self._model, self._activity_losses_are_sums = model, activity_losses_are_sums
        self._weights = model.trainable_variables
        self._optimizer_variables = model.optimizer.variables
        others = model.non_trainable_variables, self._optimizer_variables, model.metrics_variables
        pairs = [
            pair
            for variables, values in zip([self._weights, *others], state, strict=True)
            for pair in zip(variables, values, strict=True)
        ]
        self._values = {id(variable): value for variable, value in pairs}
        self._every = [variable for variable, _ in pairs]
        loss_metrics = [internals.loss_metric(model), *compiled_loss.loss_metrics(model)]
        of_losses = {id(v) for metric in loss_metrics for v in metric.variables}
        # These are passed from one micro-batch to the next.
        self._variables = [
            v
            for v in [*model.non_trainable_variables, *model.metrics_variables]
            if id(v) not in of_losses
        ]
        self._statistics = statistics_of(model)

    def run(self, data, micro_batch_size: int | None) -> tuple:
        """Returns the logs and the state after the update."""
        devices, whole = count_devices(), examples_of(data)
        size = None if micro_batch_size is None else micro_batch_size * devices
        if self._statistics is not None:
            with self._scope():
                self._statistics.begin(whole)
        values = self._of(self._variables)
        if size is None or size >= whole:
            gradients, values, losses = self._piece(data, whole, whole, values, None)
        else:
            try:
                results = self._accumulated(data, size, whole, None)
            except WholeBatchNeeded:
                results = self._accumulated(data, size, whole, self._divisors(data, size, whole))
            gradients, values, losses = results
        unregularized = gradients
        gradients, regularization = self._regularized(gradients)
        if self._statistics is not None:
            with self._scope():
                self._statistics.regularized(unregularized, gradients, self._weights)
        return self._update(whole, gradients, values, losses, regularization)

    def _of(self, variables) -> list:
        return [self._values[id(v)] for v in variables]

    def _scope(self, variables=(), values=()) -> keras.StatelessScope:
        """Returns a scope in which variables have their values from before the step.

        Only `variables` have `values` instead. Assignments stay within the scope, and losses that
        layers add are collected.
        """
        present = self._values | {id(v): value for v, value in zip(variables, values, strict=True)}
        mapping = [(v, present[id(v)]) for v in self._every]
        return keras.StatelessScope(mapping, collect_losses=True)

    def _accumulated(self, data, size: int, whole: int, divisors):
        """Returns gradients, new state and losses of the batch, summed over its micro-batches."""
        statistics, weights = self._statistics, self._weights

        def add(totals, part):
            sums, values, losses, norms = totals
            count = examples_of(part)
            gradients, values, new = self._piece(part, count, whole, values, divisors)
            if norms:
                with self._scope():
                    norms = [norms[0] + statistics.squared_norms(gradients, weights) / count]
            sums = [
                total + each.astype(total.dtype)
                for total, each in zip(sums, gradients, strict=True)
            ]
            return sums, values, [a + b for a, b in zip(losses, new, strict=True)], norms

        zeros = [jnp.zeros(v.shape, _accumulator_dtype(v.dtype)) for v in weights]
        losses = [jnp.zeros((), keras.backend.floatx()) for _ in range(1 + self._num_losses())]
        norms = [] if statistics is None else [jnp.zeros(len(statistics.columns))]
        totals = _fold(add, (zeros, self._of(self._variables), losses, norms), data, size)
        sums, values, losses, norms = totals
        if norms:
            with self._scope():
                statistics.pieces(norms[0], whole, -(-whole // size))
        gradients = [total.astype(v.dtype) for total, v in zip(sums, weights, strict=True)]
        return gradients, values, losses

    def _divisors(self, data, size: int, whole: int) -> list:
        """Returns each compiled loss's sum of weights over the batch.

        Keras divides by the sums of masks, which result from the forward pass. The compiler keeps
        only the part of this forward pass that the masks need.
        """
        ones = [jnp.ones(())] * self._num_losses()

        def add(totals, part):
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(part)
            with self._scope():
                losses = PieceLosses(self._model, examples_of(part), whole, ones)
                losses(y, internals.call_for_training(self._model, x), sample_weight)
            return [a + b for a, b in zip(totals, losses.counts, strict=True)]

        return _fold(add, [jnp.zeros(())] * len(ones), data, size)

    def _num_losses(self) -> int:
        return len(compiled_loss.losses(self._model))

    def _piece(self, data, size: int, whole: int, values, divisors):
        """Returns gradients, new state and [loss, compiled losses...] of one micro-batch."""
        model, share = self._model, size / whole
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

        def loss_of(weights):
            variables = [*self._weights, *self._variables]
            with self._scope(variables, [*weights, *values]) as scope:
                # Cancels the weighting by the micro-batch's share below, which is for means only.
                factor = whole / size if self._activity_losses_are_sums else 1.0
                with internals.activity_losses_scaled(model, factor):
                    y_pred = internals.call_for_training(model, x)
                compiled = PieceLosses(model, size, whole, divisors)
                has_loss = compiled_loss.has_loss(model)
                losses = [compiled(y, y_pred, sample_weight)] if has_loss else []
                for loss in scope.losses:
                    loss = share_of_additional_loss(loss, size, whole)
                    losses.append(internals.additional_loss(model, loss))
                losses = [jnp.asarray(loss, keras.backend.floatx()) for loss in losses]
                loss = sum(losses[1:], losses[0]) if losses else jnp.zeros(())
                scaled = model.optimizer.scale_loss(loss)
                parts = [sum((scalar(each, share) for each in losses), jnp.zeros(()))]
                after = [scope.get_current_value(v) for v in self._variables]
            # Keras also differentiates the sum of a loss without reduction.
            return jnp.sum(scaled), (y_pred, after, [*parts, *compiled.values])

        gradients, (y_pred, after, losses) = jax.grad(loss_of, has_aux=True)(
            self._of(self._weights)
        )
        with self._scope(self._variables, after) as scope:
            logs = model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
            if set(logs) != set(model.get_metrics_result()):
                raise UserError(
                    "micro_batch_size: expected a model whose logs are its metrics, received "
                    f"{type(model).__name__}, whose compute_metrics() returns others"
                )
            after = [jnp.asarray(scope.get_current_value(v), v.dtype) for v in self._variables]
        return gradients, after, losses

    def _regularized(self, gradients):
        """Adds the gradients of the weights' regularizers; also returns the regularizers' loss."""
        model = self._model
        regularized = [v for v in self._weights if v.regularizer is not None]
        if not regularized:
            return gradients, jnp.zeros(())

        def loss_of(values):
            with self._scope(regularized, values):
                losses = [internals.additional_loss(model, v.regularizer(v)) for v in regularized]
                loss = sum(jnp.asarray(each, keras.backend.floatx()) for each in losses)
                return model.optimizer.scale_loss(loss), loss

        more, loss = jax.grad(loss_of, has_aux=True)(self._of(regularized))
        by_weight = {id(v): gradient for v, gradient in zip(regularized, more, strict=True)}
        return [
            gradient + by_weight[id(v)] if id(v) in by_weight else gradient
            for gradient, v in zip(gradients, self._weights, strict=True)
        ], loss

    def _update(self, examples: int, gradients, values, losses, regularization) -> tuple:
        model = self._model
        trainable, optimizer = self._of(self._weights), self._of(self._optimizer_variables)
        if self._weights:
            trainable, optimizer = model.optimizer.stateless_apply(optimizer, gradients, trainable)
        total, *each = losses
        with self._scope(self._variables, values) as scope:
            loss_metric = internals.loss_metric(model)
            loss_metric.update_state(total + regularization, sample_weight=examples)
            # Keras has these metrics if there are several losses.
            for metric, value in zip(compiled_loss.loss_metrics(model), each, strict=False):
                metric.update_state(value, sample_weight=examples)
            if self._statistics is not None:  # with the weights before the update
                self._statistics.add_update(gradients, self._weights)
            logs = model.get_metrics_result()
            non_trainable, metrics = (
                [scope.get_current_value(v) for v in variables]
                for variables in (model.non_trainable_variables, model.metrics_variables)
            )
        return logs, (trainable, non_trainable, optimizer, metrics)


def _fold(add, totals, data, size: int):
    """Applies `totals = add(totals, micro_batch)` to the micro-batches one after the other."""
    stacked, rest = stacked_and_rest(data, size)
    totals = _typed(totals)
    pieces = jax.tree.leaves(stacked)[0].shape[0]
    if jax.default_backend() == "cpu" and pieces <= _MOST_UNROLLED:
        for number in range(pieces):
            place = number + _zero_after(totals)
            part = jax.tree.map(operator.itemgetter(place), stacked)
            totals = _typed(add(totals, part))
    else:
        totals, _ = jax.lax.scan(
            lambda totals, part: (_typed(add(totals, part)), None), totals, stacked
        )
    return totals if rest is None else add(totals, rest)


def _zero_after(totals):
    """Returns the integer 0, with a data dependency on all totals.

    Without this dependency XLA would keep the activations of several micro-batches at once, since
    on a CPU it drops `optimization_barrier` before it schedules operations.
    """
    first = [jnp.ravel(each)[0] for each in jax.tree.leaves(totals) if each.size]
    witness = sum((each.astype("float32") for each in first), jnp.zeros(()))
    return (witness > jnp.inf).astype("int32")


def _typed(totals):
    """Removes weak types, which come from Python numbers and which a loop would have to keep."""
    return jax.tree.map(lambda each: jax.lax.convert_element_type(each, each.dtype), totals)


def _accumulator_dtype(dtype):
    """Returns float32 for half precision, in which later micro-batches would be rounded away."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype
