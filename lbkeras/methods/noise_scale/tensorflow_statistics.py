"""Gradient statistics with the replicas of `tf.distribute`."""

from typing import Any

import numpy as np
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals import optimizer as optimizer_internals
from lbkeras.methods.noise_scale.pieces_statistics import (
    FIRST_UPDATE,
    PiecesStatistics,
    set_statistics,
)


class ReplicaStatistics(PiecesStatistics):
    """`GradientStatistics` for TensorFlow, where replicas' parts of a batch are pieces too."""

    def __init__(self, model, per_layer: bool = False, preconditioned: bool = False):
        self._strategy = model.distribute_strategy
        self._examples, self._totals, self._summed = {}, {}, {}  # by replica, during tracing
        self._train_step = None
        super().__init__(model, per_layer, preconditioned)

    def _make_variables(self) -> None:
        with self._strategy.scope():
            self._decay = tf.Variable(0.99, trainable=False, dtype=tf.float64)
            self._averages = tf.Variable(
                tf.zeros((8, len(self.columns)), tf.float64),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )

    def _check(self) -> None:
        super()._check()
        optimizer, name = self._optimizer, type(self._optimizer).__name__
        if self._replicas() == 1:
            return
        if not optimizer_internals.sums_over_replicas(optimizer):
            raise UserError(
                "gradient statistics: expected an optimizer that sums the replicas' gradients, "
                f"received {name}"
            )
        clips = (optimizer.clipnorm, optimizer.global_clipnorm, optimizer.clipvalue)
        if any(clips) and optimizer_internals.clips_before_sum():
            raise UserError(
                "gradient statistics: expected clipping of the replicas' summed gradients (a "
                "strategy of lbkeras.distribution, or patch_keras()), received Keras' clipping "
                "of each replica's own"
            )

    # Called by the callback.

    def attach(self) -> None:
        """Makes the model's train step and optimizer report their gradients, until `detach`."""
        self.detach()
        model, optimizer = self._model, self._optimizer
        if not model.optimizer.built:
            with self._strategy.scope():
                model.optimizer.build(model.trainable_variables)
        set_statistics(model, self)
        train_step = model.train_step

        def with_examples(data):
            self.begin(_examples(data))
            return train_step(data)

        self._train_step = vars(model)["train_step"] = with_examples
        self._apply_gradients = optimizer_internals.replace_apply(optimizer, self._apply)
        if self._replicas() > 1:
            optimizer_internals.replace_sum(optimizer, self._sum)
        model.train_function = None

    def detach(self) -> None:
        """Restores the model and the optimizer as they were before `attach`."""
        attributes = vars(self._model)
        set_statistics(self._model, None)
        if attributes.get("train_step") is self._train_step:  # unless another has replaced it
            attributes.pop("train_step", None)
        optimizer_internals.restore_apply_and_sum(self._optimizer)
        self._model.train_function = None

    def set_decay(self, decay: float) -> None:
        self._decay.assign(decay)

    def read(self) -> np.ndarray:
        return np.asarray(tf.convert_to_tensor(self._averages))

    def write(self, state: np.ndarray) -> None:
        self._averages.assign(state)

    # Called by the train step, in a replica.

    def means(self) -> Any:
        """Returns, in a replica, the means of tr(Σ) and |G|² and whether they exist, as scalars."""
        _, weight, _, variance, squared_norm = tf.unstack(
            tf.cast(self._averages, tf.float64)[:5, -1]
        )
        known = weight > 0
        weight = tf.where(known, weight, tf.ones_like(weight))
        return variance / weight, squared_norm / weight, known

    def begin(self, examples: Any) -> None:
        self._examples[self._replica()] = tf.cast(examples, tf.float32)
        super().begin(examples)

    # These replace the optimizer's methods.

    def _apply(self, gradients, variables):
        replica = self._replica()
        if replica not in self._examples:
            raise UserError(
                "gradient statistics: expected updates by the model's train step, received one "
                "from elsewhere"
            )
        pieces = self._pieces.pop(replica, None)
        alone = self._replicas() == 1
        if alone and pieces is None:
            if self.undivided_error:
                raise UserError(self.undivided_error)
            self._apply_gradients(gradients, variables)
            self._updated()
            return
        norms = self.squared_norms(gradients, variables)
        if pieces is None:
            examples, weight = self._examples[replica], 1 / self._replicas()
            pieces = [norms * examples / weight**2, examples, 1, weight**2 / examples]
        if alone:
            self._totals[replica] = norms
        self._summed[replica] = variables
        usable = self._optimizer.iterations >= (FIRST_UPDATE if self._preconditioned else 0)
        self._apply_gradients(gradients, variables)
        if replica not in self._totals:
            raise UserError(
                "gradient statistics: expected an optimizer that sums the replicas' gradients, "
                f"received {type(self._optimizer).__name__}"
            )
        # After the update, so that its learning rate does not depend on its own gradient.
        self._add_everywhere(pieces, self._totals.pop(replica), usable)
        self._updated()

    def _sum(self, gradients_and_variables):
        """Sums gradients over the replicas and clips the sum, as patched Keras does."""
        gradients_and_variables = list(gradients_and_variables)
        context = tf.distribute.get_replica_context()
        gradients = [gradient for gradient, _ in gradients_and_variables]
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        replica = self._replica()
        self._totals[replica] = self.squared_norms(gradients, self._summed.pop(replica))
        gradients = optimizer_internals.clip(self._optimizer, gradients)
        return [(g, v) for g, (_, v) in zip(gradients, gradients_and_variables, strict=True)]

    def _add_everywhere(self, pieces, total, usable) -> None:
        norms, *others = pieces
        sums = tf.concat([norms, [tf.cast(each, tf.float32) for each in others]], 0)
        if self._replicas() > 1:
            context = tf.distribute.get_replica_context()
            sums = context.all_reduce(tf.distribute.ReduceOp.SUM, sums)
        self._add(sums[:-3], [sums[-3], sums[-2], sums[-1]], total, usable)

    def _updated(self) -> None:
        if self.on_update is not None:
            self.on_update()

    # These differ from the case of one replica.

    def _replica(self) -> int:
        # Each replica is traced in a thread of its own, which is not always the same.
        context = tf.distribute.get_replica_context()
        number = tf.get_static_value(context.replica_id_in_sync_group) if context else 0
        return 0 if number is None else int(number)

    def _replicas(self) -> int:
        return self._strategy.num_replicas_in_sync

    def _present(self, variable):
        return tf.convert_to_tensor(variable)

    def _dense(self, gradient):
        return tf.convert_to_tensor(gradient)

    def _squared_norm(self, gradient):
        return 2 * tf.nn.l2_loss(gradient)

    def _sum_of(self, scalars):
        return tf.add_n(scalars)


def _examples(data):
    return tf.shape(next(part for part in tf.nest.flatten(data) if part is not None))[0]
