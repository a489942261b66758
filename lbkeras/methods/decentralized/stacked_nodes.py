"""Decentralized training of many nodes on one machine: a leading axis of the weights holds them."""

import types
from typing import Any

import keras
import tensorflow as tf

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.keras_internals.backend import check_backend
from lbkeras.keras_internals.model import loss_metric


@keras.saving.register_keras_serializable(package="lbkeras")
class StackedNodes(keras.Model):
    """Trains one model per node, each on its part of the batch; evaluates the mean of the nodes.

    Every variable of the model gets the shape `(num_nodes, ...)`. In a train step, node i takes
    rows [i B / num_nodes, (i + 1) B / num_nodes) of the global batch of B examples and computes the
    gradient of its own loss at its own weights. The optimizer, one of the decentralized ones in
    `lbkeras.optimizers`, then exchanges weights between the nodes. Evaluation, prediction and calls
    use the mean of the nodes' weights and statistics. `mean_model()` returns a model with this
    mean, to keep after training. Loss and metrics of training are those of the nodes at their own
    weights.

    All nodes start at the model's weights. Batch normalization uses each node's own part of the
    batch and keeps moving statistics per node. Random generators (dropout) differ between nodes.
    Weights, gradients and slots take num_nodes times the memory, and the update num_nodes times as
    long. With 16 nodes and batch 256, a step took 2 to 3 times as long as one model's for small
    networks, and 9 times for a hidden layer of 512 units (2 cores).

    Args:
        model: a functional or sequential `keras.Model`, uncompiled; its own weights do not change.
        num_nodes: at least 1.

    Raises:
        UserError: the model is not built, there are no nodes, the strategy has several replicas,
            or Keras' backend is not TensorFlow; in `fit`, the optimizer has another number of
            nodes, or the batch size is not a multiple of it.

    Example:

    >>> from lbkeras import distribution, optimizers
    >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model = StackedNodes(inner, num_nodes=8)
    >>> model.compile(optimizers.DecentLaM(0.1, distribution.mixing.ring(8)), "mse")
    >>> history = model.fit(keras.ops.ones((16, 4)), keras.ops.ones((16, 2)), 16, verbose=0)
    >>> [tuple(weight.shape) for weight in model.mean_model().weights]
    [(4, 2), (2,)]
    """

    def __init__(self, model: keras.Model, num_nodes: int, **kwargs: Any):
        check_backend("StackedNodes")
        super().__init__(**kwargs)
        if not getattr(model, "built", False) or not hasattr(model, "stateless_call"):
            raise UserError(f"model: expected a built Keras model, received {model!r}")
        self.num_nodes = checks.integer("num_nodes", num_nodes, minimum=1)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1:
            raise UserError(f"num_nodes: expected one replica, received {replicas}")
        # Hidden from Keras, as its weights are not trained.
        self._one = types.SimpleNamespace(model=model)
        seeds = {id(v) for v in model.non_trainable_variables}
        seeds -= {id(v) for v in model.non_trainable_weights}
        self._stacked = [self._stack(v, trainable=True) for v in model.trainable_variables]
        self._stacked_state = [
            self._stack(v, trainable=False, is_seed=id(v) in seeds)
            for v in model.non_trainable_variables
        ]
        self.built = True

    def mean_model(self) -> keras.Model:
        """Returns a model with the mean of the nodes' weights and statistics, to keep and save.

        Each call returns a new copy.
        """
        model = keras.models.clone_model(self._one.model)
        weights, state = self._means()
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)
        for variable, value in zip(model.non_trainable_variables, state, strict=True):
            variable.assign(value)
        return model

    @property
    def one_node(self) -> keras.Model:
        """The model that was passed to the constructor."""
        return self._one.model

    @property
    def node_weights(self) -> Any:
        """The trainable variables, each of shape `(num_nodes, ...)`."""
        return list(self._stacked)

    @property
    def input_shape(self) -> Any:
        return self._one.model.input_shape

    @property
    def output_shape(self) -> Any:
        return self._one.model.output_shape

    def call(self, inputs, training=False):
        """Returns the output at the nodes' mean weights, always in inference mode."""
        outputs, _ = self._one.model.stateless_call(*self._means(), inputs, training=False)
        return outputs

    def compute_output_shape(self, input_shape):
        return self._one.model.compute_output_shape(input_shape)

    def train_step(self, data):
        """Makes a step of every node on its part of the batch, and the exchange."""
        self._check_optimizer()
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        given = [part for part in (x, y, sample_weight) if part is not None]
        parts = tf.nest.map_structure(self._divided, given)
        weights = [tf.convert_to_tensor(v) for v in self._stacked]
        state = [tf.convert_to_tensor(v) for v in self._stacked_state]
        map_nodes = _one_by_one if self.run_eagerly else tf.vectorized_map
        gradients, state, outputs, losses = map_nodes(self._node_step, (weights, state, parts))
        for variable, value in zip(self._stacked_state, state, strict=True):
            variable.assign(value)
        self.optimizer.apply(gradients, self._stacked)
        size = tf.shape(tf.nest.flatten(x)[0])[0]
        loss_metric(self).update_state(tf.reduce_mean(losses), sample_weight=size)
        outputs = tf.nest.map_structure(lambda part: tf.concat(tf.unstack(part), 0), outputs)
        return self.compute_metrics(x, y, outputs, sample_weight=sample_weight)

    def get_config(self):
        model = keras.saving.serialize_keras_object(self._one.model)
        return {"name": self.name, "model": model, "num_nodes": self.num_nodes}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        return cls(model, config["num_nodes"], name=config["name"])

    def _node_step(self, arguments):
        """Returns gradients, new state, output and loss of one node."""
        weights, state, parts = arguments
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tuple(parts))
        with tf.GradientTape() as tape:
            tape.watch(weights)
            outputs, state, added = self._one.model.stateless_call(
                weights, state, x, training=True, return_losses=True
            )
            loss = self.compute_loss(x, y, outputs, sample_weight, training=True)
            loss = tf.add_n([loss, *(tf.cast(term, loss.dtype) for term in added)])
            scaled = self.optimizer.scale_loss(loss)
        return tape.gradient(scaled, weights), state, outputs, loss

    def _check_optimizer(self) -> None:
        # Not in `compile`: Keras leaves a loaded model uncompiled if its class overrides that.
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        received = getattr(optimizer, "num_nodes", None)
        if received != self.num_nodes:
            received = f"one with {received}" if received else type(optimizer).__name__
            raise UserError(
                f"optimizer: expected a decentralized one with {self.num_nodes} nodes (DecentLaM, "
                f"DmSGD, GossipSGD, ElasticAveragingSGD), received {received}"
            )

    def _divided(self, tensor):
        size = tensor.shape[0]
        if size is not None and size % self.num_nodes:
            below = size // self.num_nodes * self.num_nodes
            raise UserError(
                f"batch_size: expected a multiple of the {self.num_nodes} nodes, received {size}; "
                f"the nearest are {below} and {below + self.num_nodes}"
            )
        part = -1 if size is None else size // self.num_nodes
        shape = tf.concat([[self.num_nodes, part], tf.shape(tensor)[1:]], axis=0)
        divided = tf.reshape(tensor, shape)
        divided.set_shape([self.num_nodes, None if size is None else part, *tensor.shape[1:]])
        return divided

    def _stack(self, variable, trainable, is_seed=False):
        values = keras.ops.convert_to_tensor(variable.value)
        values = tf.repeat(values[tf.newaxis], self.num_nodes, axis=0)
        if is_seed:  # [seed, steps so far]
            nodes = tf.cast(tf.range(self.num_nodes), values.dtype)
            values = tf.concat([values[:, :1] + nodes[:, tf.newaxis], values[:, 1:]], axis=1)
        stacked = self.add_weight(
            shape=values.shape,
            initializer="zeros",
            dtype=variable.dtype,
            trainable=trainable,
            name=variable.path.replace("/", "."),
        )
        stacked.assign(values)
        return stacked

    def _means(self):
        """Returns the nodes' mean weights and mean state; for integers the first node's value."""

        def mean(variable):
            if keras.backend.is_float_dtype(variable.dtype):
                return tf.reduce_mean(tf.convert_to_tensor(variable), axis=0)
            return variable[0]

        return [mean(v) for v in self._stacked], [mean(v) for v in self._stacked_state]


def _one_by_one(function, stacked):
    """Computes the result of `tf.vectorized_map` eagerly, for debuggers."""
    size = tf.nest.flatten(stacked)[0].shape[0]
    each = [
        function(tf.nest.map_structure(lambda part, i=i: part[i], stacked)) for i in range(size)
    ]
    return tf.nest.map_structure(lambda *parts: tf.stack(parts), *each)
