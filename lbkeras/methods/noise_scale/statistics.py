"""How noisy the gradient is, from the gradients that an update computes anyway."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals import optimizer as optimizer_internals
from lbkeras.methods.noise_scale.second_moments import has_second_moments, inverse_roots

_FIRST_UPDATE = 5  # (from 0) with second moments worth dividing by
_KEY = "lbkeras.gradient_statistics"  # under which a model holds them


class GradientStatistics:
    """Running means of tr(Σ) and |G|² over the updates, in the graph.

    An update's gradient is made of pieces: the micro-batches of `micro_batch_train_step`, the
    replicas' parts, or the micro-batches of all replicas. With n_i examples and mean gradient g_i,
    G = sum w_i g_i over k pieces of N examples (w_i = n_i / N where replicas have equal parts),

        tr(Σ) = (sum n_i |g_i|² / N − |G|²) / (k / N − h),   h = sum w_i² / n_i
        |μ|²  = |G|² − tr(Σ) h

    without bias; `lbkeras.analysis.piece_estimates` with h = 1 / N. Gradients are those of the
    optimizer's loss: unscaled, with regularizers, before clipping and weight decay. An update with
    one piece alone, or with a number that is not finite, adds nothing.

    Costs a pass over each piece's gradients and one over their sum, and with replicas an all-reduce
    of a few scalars.

    Args:
        model: a compiled model; its optimizer is built before the first update.
        per_layer: also a column for each layer with weights.
        preconditioned: gradients are divided by √v̂ + epsilon of the optimizer, once it has made
            five updates.

    Attributes:
        columns: the layers' names, where asked for; the last stands for all weights.
        on_update: called in each replica, in the graph, at the end of each update; or None.
        undivided_error: where it is not empty, the message of the UserError that one piece raises.

    Raises:
        UserError: an optimizer that accumulates gradients over updates, that has no second moments
            to divide by, or that doesn't sum the replicas' gradients as Keras does.
    """

    def __init__(self, model: keras.Model, per_layer: bool = False, preconditioned: bool = False):
        self._model = model
        self._strategy = model.distribute_strategy
        self._optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        self._preconditioned = preconditioned
        self._check()
        paths = [_layer(variable) for variable in model.trainable_variables]
        layers = list(dict.fromkeys(paths)) if per_layer else []
        self.columns = [*layers, ""]
        self._column = {path: layers.index(path) for path in paths} if per_layer else {}
        self._examples, self._pieces, self._totals = {}, {}, {}  # by replica, while it is traced
        self._inverses, self._summed = {}, {}
        self._train_step = None
        self.on_update = None
        self.undivided_error = ""
        with self._strategy.scope():
            self._decay = tf.Variable(0.99, trainable=False, dtype=tf.float64)
            self._averages = tf.Variable(
                tf.zeros((8, len(self.columns)), tf.float64),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )

    def _check(self) -> None:
        optimizer, name = self._optimizer, type(self._optimizer).__name__
        if keras.backend.backend() != "tensorflow":
            raise UserError(
                "gradient statistics: expected Keras' TensorFlow backend, received "
                f"{keras.backend.backend()}"
            )
        if optimizer.gradient_accumulation_steps:
            raise UserError(
                "gradient_accumulation_steps: expected none with gradient statistics (MicroBatches "
                f"divides a batch), received {optimizer.gradient_accumulation_steps}"
            )
        if self._preconditioned and not has_second_moments(optimizer):
            raise UserError(
                "preconditioned: expected an optimizer with second moments and beta_2, such as "
                f"Adam, received {name}"
            )
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

    # What the callback does.

    def attach(self) -> None:
        """Lets the model's train step and optimizer tell what they compute, until `detach`."""
        self.detach()
        model, optimizer = self._model, self._optimizer
        if not model.optimizer.built:
            with self._strategy.scope():
                model.optimizer.build(model.trainable_variables)
        vars(model)[_KEY] = self
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
        """Leaves model and optimizer as they were."""
        attributes = vars(self._model)
        attributes.pop(_KEY, None)
        if attributes.get("train_step") is self._train_step:  # another may have taken its place
            attributes.pop("train_step", None)
        optimizer_internals.restore_apply_and_sum(self._optimizer)
        self._model.train_function = None

    @property
    def is_attached(self) -> bool:
        return statistics_of(self._model) is self

    @property
    def variables(self) -> list:
        """What a checkpoint has to hold."""
        return [self._averages]

    def set_decay(self, decay: float) -> None:
        """Sets what an update multiplies the weights of those before by, in [0, 1)."""
        self._decay.assign(decay)

    def read(self) -> np.ndarray:
        """The state of `lbkeras.analysis.GradientNoiseAverages`, shape (8, columns)."""
        return np.asarray(tf.convert_to_tensor(self._averages))

    def write(self, state: np.ndarray) -> None:
        """Sets that state."""
        self._averages.assign(state)

    # What the train step does, in a replica.

    def means(self) -> Any:
        """In a replica: the means of tr(Σ) and |G|² now, and whether there are any; scalars."""
        _, weight, _, variance, squared_norm = tf.unstack(
            tf.cast(self._averages, tf.float64)[:5, -1]
        )
        known = weight > 0
        weight = tf.where(known, weight, tf.ones_like(weight))
        return variance / weight, squared_norm / weight, known

    def begin(self, examples: Any) -> None:
        """An update begins, of so many examples in this replica."""
        replica = _replica()
        self._examples[replica] = tf.cast(examples, tf.float32)
        self._pieces.pop(replica, None)
        self._inverses[replica] = inverse_roots(self._optimizer) if self._preconditioned else None

    def squared_norms(self, gradients: Any, variables: Any) -> Any:
        """|gradient|² by column, float32; None counts as 0."""
        inverses = self._inverses.get(_replica())
        norms = [[] for _ in self.columns]
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is None:
                continue
            gradient = tf.cast(tf.convert_to_tensor(gradient), tf.float32)
            if inverses is not None:
                gradient *= inverses[optimizer_internals.variable_index(self._optimizer, variable)]
            norms[self._column.get(_layer(variable), -1)].append(2 * tf.nn.l2_loss(gradient))
        sums = [tf.add_n(each) if each else tf.zeros(()) for each in norms]
        if len(sums) > 1:
            sums[-1] = tf.add_n(sums[:-1])
        return tf.stack(sums)

    def pieces(self, norms: Any, examples: int, pieces: int) -> None:
        """A replica's micro-batches have been computed.

        Args:
            norms: sum over pieces of |c|² / (examples of the piece), shape (columns,), c being what
                the piece adds to the replica's gradient, scaled as the loss is.
            examples: of the replica.
            pieces: how many.
        """
        weight = 1 / self._replicas()  # of the replica
        norms *= self._unscaled((examples / weight) ** 2)
        self._pieces[_replica()] = [norms, examples, pieces, weight**2 / examples]

    def regularized(self, before: Any, after: Any, variables: Any) -> None:
        """The micro-batches' sum `before` got the regularizers' gradients, which makes `after`."""
        replica = _replica()
        changed = [
            each for each in zip(before, after, variables, strict=True) if each[0] is not each[1]
        ]
        if replica not in self._pieces or not changed:
            return
        before, after, variables = zip(*changed, strict=True)
        norms, examples, *others = self._pieces[replica]
        more = self.squared_norms(after, variables) - self.squared_norms(before, variables)
        # sum n |g + r|² = sum n |g|² + examples (|G + r|² − |G|²)
        norms += more * self._unscaled(examples * self._replicas() ** 2)
        self._pieces[replica] = [norms, examples, *others]

    # What takes the place of the optimizer's methods.

    def _apply(self, gradients, variables):
        replica = _replica()
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
        usable = self._optimizer.iterations >= (_FIRST_UPDATE if self._preconditioned else 0)
        self._apply_gradients(gradients, variables)
        if replica not in self._totals:
            raise UserError(
                "gradient statistics: expected an optimizer that sums the replicas' gradients, "
                f"received {type(self._optimizer).__name__}"
            )
        # Last, so that the learning rate of this update does not depend on its own gradient.
        self._add(pieces, self._totals.pop(replica), usable)
        self._updated()

    def _sum(self, gradients_and_variables):
        """Keras' sum over the replicas, and its clipping of the sum where that is mended."""
        gradients_and_variables = list(gradients_and_variables)
        context = tf.distribute.get_replica_context()
        gradients = [gradient for gradient, _ in gradients_and_variables]
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        replica = _replica()
        self._totals[replica] = self.squared_norms(gradients, self._summed.pop(replica))
        gradients = optimizer_internals.clip(self._optimizer, gradients)
        return [(g, v) for g, (_, v) in zip(gradients, gradients_and_variables, strict=True)]

    def _add(self, pieces, total, usable) -> None:
        norms, *others = pieces
        sums = tf.concat([norms, [tf.cast(each, tf.float32) for each in others]], 0)
        if self._replicas() > 1:
            context = tf.distribute.get_replica_context()
            sums = context.all_reduce(tf.distribute.ReduceOp.SUM, sums)
        sums, total = tf.cast(sums, tf.float64), tf.cast(total, tf.float64)
        norms, examples, number, spread = sums[:-3], sums[-3], sums[-2], sums[-1]
        v = (norms / examples - total) / (number / examples - spread)
        g = total - v * spread
        one = tf.ones_like(v)
        decay = tf.convert_to_tensor(self._decay)
        old = tf.stack([one[0], decay, decay**2, *[decay] * 5])
        new = tf.stack([one[0], 1 - decay, (1 - decay) ** 2, *[1 - decay] * 5])
        before = tf.convert_to_tensor(self._averages)
        values = tf.stack([one, one, one, v, g, v * v, v * g, g * g])
        after = old[:, None] * before + new[:, None] * values
        usable = tf.logical_and(usable, tf.reduce_all(tf.math.is_finite(v + g)))
        self._averages.assign(tf.where(usable, after, before))

    def _updated(self) -> None:
        if self.on_update is not None:
            self.on_update()

    def _unscaled(self, value: float):
        """A squared norm's factor, without the scale of the loss."""
        return value / tf.cast(self._model.optimizer.scale_loss(tf.ones(())), tf.float32) ** 2

    def _replicas(self) -> int:
        return self._strategy.num_replicas_in_sync


def statistics_of(model) -> GradientStatistics | None:
    """The statistics that a model's train step is asked for, if any are."""
    return vars(model).get(_KEY)


def _layer(variable) -> str:
    return getattr(variable, "path", "").rpartition("/")[0]


def _examples(data):
    return tf.shape(next(part for part in tf.nest.flatten(data) if part is not None))[0]


def _replica() -> int:
    """The number of the replica that is traced: each has its own thread, not always the same."""
    context = tf.distribute.get_replica_context()
    number = tf.get_static_value(context.replica_id_in_sync_group) if context else 0
    return 0 if number is None else int(number)
