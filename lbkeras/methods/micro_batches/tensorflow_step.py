"""The train step in micro-batches for TensorFlow."""

import warnings

import keras
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals import compiled_loss, loss_reduction
from lbkeras.keras_internals import model as internals
from lbkeras.methods.micro_batches.losses import (
    PieceLosses,
    WholeBatchNeeded,
    scalar,
    share_of_additional_loss,
)
from lbkeras.methods.micro_batches.passes import passes_of
from lbkeras.methods.micro_batches.pieces import (
    accumulator_dtype,
    add_gradient,
    as_tensor,
    first_tensor,
    rows_of,
    sum_of_gradients,
    with_size,
)
from lbkeras.methods.micro_batches.update_progress import with_dependencies
from lbkeras.methods.noise_scale.pieces_statistics import statistics_of


class TrainStep:
    """The step that `micro_batch_train_step` returns; called once per trace in each replica.

    Args:
        model: a compiled `keras.Model` with Keras' own train step.
        micro_batch_size: examples per replica in a micro-batch; None: undivided.
        progress: an `UpdateProgress`, or None.
    """

    def __init__(self, model, micro_batch_size, progress):
        self._model = model
        self._micro_batch_size = micro_batch_size
        self._progress = progress
        self._activity_losses_are_sums = internals.activity_losses_are_sums()

    @tf.autograph.experimental.do_not_convert
    def __call__(self, data):
        data = tf.nest.map_structure(as_tensor, data)
        self._prepare(data)
        if self._progress is not None:
            data = self._progress.mark_step(data)
        size = self._size(data)
        if self._statistics is not None:
            self._statistics.begin(tf.shape(first_tensor(data))[0])
        if size is None:  # undivided, and known only at run time
            gradients, state, losses = self._piece(data, 1, 1, self._state(), None)
        else:
            gradients, state, losses = self._over_pieces(data, size)
        unregularized = gradients
        gradients, regularization = self._regularized(gradients)
        if self._statistics is not None:
            self._statistics.regularized(unregularized, gradients, self._weights)
        results = (gradients, state, losses, regularization)
        if self._progress is None:
            ready = with_dependencies(results, tf.zeros(()))
        else:
            ready = self._progress.mark_update(results)
        with tf.control_dependencies([ready]):  # also for changes without gradients: `iterations`
            return self._update(data, *results)

    def _prepare(self, data) -> None:
        """Builds what Keras builds in the first step, and groups the variables."""
        model = self._model
        if not internals.is_built(model):
            internals.build(model, data)
        metrics = [internals.loss_metric(model), *compiled_loss.loss_metrics(model)]
        self._loss_metrics = {id(v) for metric in metrics for v in metric.variables}
        self._passes = passes_of(model)
        self._variables = [
            v
            for v in [*model.non_trainable_variables, *model.metrics_variables]
            if id(v) not in self._loss_metrics
        ] + ([] if self._passes is None else self._passes.variables)
        self._weights = model.trainable_variables
        self._statistics = statistics_of(model)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._replicas_meet = replicas > 1 and any(
            getattr(layer, "synchronized", False) for layer in internals.layers(model)
        )

    def _size(self, data) -> int | None:
        """Returns the size of the replica's batch; None if it is unknown and not needed."""
        shape = first_tensor(data).shape
        if shape[0] is None and self._micro_batch_size is not None:
            raise UserError(
                "micro_batch_size: expected batches of one known size, received "
                f"x of shape {tuple(shape)}; drop the smaller last batch (a Pipeline "
                "with shuffle=True does)"
            )
        return shape[0]

    def _state(self) -> list:
        return [tf.convert_to_tensor(v.value) for v in self._variables]

    def _over_pieces(self, data, size: int):
        """Returns gradients, new state and losses of the batch, summed over its micro-batches."""
        step = self._micro_batch_size
        if step is None or step >= size:
            return self._piece(data, size, size, self._state(), None)
        try:
            return self._accumulated(data, size, None)
        except WholeBatchNeeded:
            return self._accumulated(data, size, self._divisors(data, size))

    def _accumulated(self, data, size: int, divisors):
        has_gradient = [False] * len(self._weights)

        def add(part, part_size, totals):
            sums, state, losses, norms = totals
            gradients, state, new = self._piece(part, part_size, size, state, divisors)
            if norms:
                more = self._statistics.squared_norms(gradients, self._weights)
                norms = [norms[0] + more / part_size]
            for index, gradient in enumerate(gradients):
                if gradient is not None:
                    has_gradient[index] = True
                    sums = [*sums[:index], add_gradient(sums[index], gradient), *sums[index + 1 :]]
            return sums, state, [a + b for a, b in zip(losses, new, strict=True)], norms

        # Not a constant: TensorFlow would fold it to zeros as large as the weights while it
        # optimizes the graph, and there a failed allocation ends the process.
        zero = tf.minimum(self._model.optimizer.iterations.value, 0)
        zeros = [tf.fill(v.shape, tf.cast(zero, accumulator_dtype(v.dtype))) for v in self._weights]
        losses = [tf.zeros((), keras.backend.floatx()) for _ in range(1 + self._num_losses())]
        norms = [] if self._statistics is None else [tf.zeros(len(self._statistics.columns))]
        totals = self._fold(data, size, add, (zeros, self._state(), losses, norms))
        sums, state, losses, norms = totals
        if norms:
            self._statistics.pieces(norms[0], size, -(-size // self._micro_batch_size))
        gradients = [
            tf.cast(total, v.dtype) if has else None
            for total, v, has in zip(sums, self._weights, has_gradient, strict=True)
        ]
        return gradients, state, losses

    def _divisors(self, data, size: int) -> list:
        """Returns each compiled loss's sum of weights over the batch, averaged over replicas.

        Keras divides by the sums of masks, which result from the forward pass. The graph keeps only
        the part of this forward pass that the masks need.
        """
        ones = [tf.ones(())] * self._num_losses()

        def add(part, part_size, totals):
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(part)
            with keras.StatelessScope(zip(self._variables, self._state(), strict=True)):
                losses = PieceLosses(self._model, part_size, size, ones)
                y_pred = with_size(internals.call_for_training(self._model, x), part_size)
                losses(y, y_pred, sample_weight)
            return [a + b for a, b in zip(totals, losses.counts, strict=True)]

        sums = self._fold(data, size, add, [tf.zeros(())] * len(ones))
        replicas = loss_reduction.replicas()
        return [loss_reduction.sum_over_replicas(each) / replicas for each in sums]

    def _num_losses(self) -> int:
        return len(compiled_loss.losses(self._model))

    def _fold(self, data, size: int, add, totals):
        """Applies `totals = add(part, size of the part, totals)` to one micro-batch at a time."""
        step = self._micro_batch_size
        full = size // step * step
        if not self._replicas_meet:
            try:
                _, sums = tf.while_loop(
                    lambda start, totals: start < full,
                    lambda start, totals: (
                        start + step,
                        add(rows_of(data, start, step), step, totals),
                    ),
                    (tf.constant(0), totals),
                    parallel_iterations=1,
                )
            except RuntimeError as error:
                if "merge_call" not in str(error):
                    raise
                self._replicas_meet = True
        if self._replicas_meet:  # the forward pass communicates, which a loop does not allow
            sums = totals
            for start in range(0, full, step):
                sums = add(rows_of(with_dependencies(sums, data), start, step), step, sums)
        if full < size:
            sums = add(rows_of(with_dependencies(sums, data), full, size - full), size - full, sums)
        return sums

    def _piece(self, data, size: int, whole_size: int, state, divisors):
        """Returns gradients, new state and [loss, compiled losses...] of one micro-batch."""

        def one_pass(data, state):
            return self._pass(data, size, whole_size, state, divisors)

        if self._passes is None:
            return one_pass(data, state)
        return self._passes(one_pass, data, self._variables, state)

    def _pass(self, data, size: int, whole_size: int, state, divisors):
        """Returns the same as `_piece`, from one forward and backward pass."""
        model = self._model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        mapping = zip(self._variables, state, strict=True)
        with _PieceScope(mapping, self._loss_metrics) as scope:
            with tf.GradientTape() as tape:
                # Cancels the weighting by the micro-batch's share below, which is for means only.
                factor = whole_size / size if self._activity_losses_are_sums else 1.0
                with internals.activity_losses_scaled(model, factor):
                    y_pred = internals.call_for_training(model, x)
                if size < whole_size:
                    y_pred = with_size(y_pred, size)
                compiled = PieceLosses(model, size, whole_size, divisors)
                has_loss = compiled_loss.has_loss(model)
                losses = [compiled(y, y_pred, sample_weight)] if has_loss else []
                for loss in scope.losses:
                    loss = share_of_additional_loss(loss, size, whole_size)
                    losses.append(internals.additional_loss(model, loss))
                losses = [tf.cast(loss, keras.backend.floatx()) for loss in losses]
                loss = sum(losses[1:], losses[0]) if losses else tf.zeros(())
                scaled = model.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, [v.value for v in self._weights])
            logs = model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
            if set(logs) != set(model.get_metrics_result()):
                raise UserError(
                    "micro_batch_size: expected a model whose logs are its metrics, received "
                    f"{type(model).__name__}, whose compute_metrics() returns others"
                )
        share = size / whole_size
        values = [sum((scalar(each, share) for each in losses), tf.zeros(())), *compiled.values]
        return gradients, [scope.get_current_value(v) for v in self._variables], values

    def _regularized(self, gradients):
        """Adds the gradients of the weights' regularizers; also returns the regularizers' loss."""
        model = self._model
        weights = [v for v in self._weights if v.regularizer is not None]
        if not weights:
            return gradients, tf.zeros(())
        with tf.GradientTape() as tape:
            losses = [internals.additional_loss(model, v.regularizer(v)) for v in weights]
            loss = tf.add_n([tf.cast(each, keras.backend.floatx()) for each in losses])
            scaled = model.optimizer.scale_loss(loss)
        new = tape.gradient(scaled, [v.value for v in weights])
        by_weight = {id(v): gradient for v, gradient in zip(weights, new, strict=True)}
        return [
            sum_of_gradients(gradient, by_weight.get(id(v)))
            for gradient, v in zip(gradients, self._weights, strict=True)
        ], loss

    def _update(self, data, gradients, state, losses, regularization):
        model = self._model
        if self._passes is not None:
            state = self._passes.before_update(self._variables, state)
        for variable, value in zip(self._variables, state, strict=True):
            variable.assign(value)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        count = tf.shape(first_tensor(data))[0]
        total, *each = losses
        loss_metric = internals.loss_metric(model)
        loss_metric.update_state((total + regularization) * replicas, sample_weight=count)
        # Keras has these metrics if there are several losses.
        for metric, value in zip(compiled_loss.loss_metrics(model), each, strict=False):
            metric.update_state(value * replicas, sample_weight=count)
        if self._weights:
            model.optimizer.apply_gradients(zip(gradients, self._weights, strict=True))
        else:
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        return model.get_metrics_result()


class _PieceScope(keras.StatelessScope):
    """Holds back updates of the model's state, and drops those of the loss's metrics.

    Variables outside the model, such as Keras' global seed generator, are updated directly.
    """

    def __init__(self, mapping, dropped: set):
        super().__init__(mapping, collect_losses=True)
        self._kept = dropped | set(self.state_mapping)

    def add_update(self, update):
        variable, value = update
        if id(variable) in self._kept:
            super().add_update(update)
        else:
            variable.value.assign(tf.cast(value, variable.dtype))
