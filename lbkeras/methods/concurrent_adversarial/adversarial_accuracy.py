"""How many unseen examples a model still tells apart after one step of an adversary."""

from typing import TYPE_CHECKING

import keras

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.keras_internals import model as internals
from lbkeras.keras_internals.backend import check_backend
from lbkeras.keras_internals.data_adapter import DataAdapter

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline


class AdversarialAccuracy(keras.callbacks.Callback):
    """Logs the accuracy on unseen examples that the fast gradient sign method has moved.

        x' = x + epsilon · sign(∇_x L(x; θ))

    with the weights θ and the moving statistics as they are, in inference mode: a white-box attack
    of one step, without clipping to the range of pixels. It tells how much a small change of every
    pixel costs; stronger attacks of several steps cost more.

    Logs `val_fgsm_accuracy`, a share of 1, at the end of epochs that are measured. Put it before
    callbacks that store logs. With several replicas or workers each computes the same, on one
    device. Costs two forward and one backward pass over the examples.

    Args:
        validation: a `lbkeras.data.Pipeline` of unseen examples; its labels are numbers of classes
            or one-hot, for a model with one output of a value for each class.
        epsilon: in each coordinate, above 0, in the unit of the inputs.
        every_epochs: measure after each so many epochs too; 0: only at the end, after `fit`'s last
            epoch or the one after which an earlier callback has set `model.stop_training`.

    Raises:
        UserError: an argument out of its range; in `fit`, Keras on another backend than TensorFlow;
            when it measures, outputs that are not one value for each class, inputs without a
            gradient.

    >>> import lbkeras
    >>> test = lbkeras.data.load("digits", "test", batch_size=100)
    >>> model = lbkeras.models.mlp((8, 8, 1), 10, hidden_sizes=())
    >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> measure = AdversarialAccuracy(test, epsilon=1.0)
    >>> list(model.fit(test, callbacks=[measure], verbose=0).history)
    ['loss', 'val_fgsm_accuracy']

    Reference: Goodfellow, Shlens, Szegedy 2015, "Explaining and Harnessing Adversarial Examples",
    arXiv:1412.6572, section 4.
    """

    def __init__(self, validation: "Pipeline", epsilon: float, every_epochs: int = 0):
        super().__init__()
        check_backend("AdversarialAccuracy")
        if not (isinstance(validation, DataAdapter) and hasattr(validation, "in_order")):
            raise UserError(
                "validation: expected a lbkeras.data.Pipeline, received "
                f"{type(validation).__name__}"
            )
        self.validation = validation
        self.epsilon = checks.positive("epsilon", epsilon)
        self.every_epochs = checks.integer("every_epochs", every_epochs, minimum=0)

    def set_model(self, model):
        super().set_model(model)
        import tensorflow as tf

        hits = tf.autograph.experimental.do_not_convert(self._hits)
        self._function = tf.function(hits, reduce_retracing=True)

    def on_epoch_end(self, epoch, logs=None):
        if logs is None:
            return
        # BatchSizeScheduler stops each epoch by another truthy value.
        last = epoch + 1 == self.params.get("epochs") or self.model.stop_training is True
        if last or self.every_epochs and (epoch + 1) % self.every_epochs == 0:
            logs["val_fgsm_accuracy"] = self.measure()

    def measure(self) -> float:
        """What the callback logs, of the model as it is now."""
        if self.model is None:
            raise UserError(
                f"{type(self).__name__}: expected a model, from `fit` or set_model(model), before "
                "measure(), received none"
            )
        data = self.validation.in_order(self.validation.batch_size)
        return sum(int(self._function(batch)) for batch in data.dataset()) / data.num_examples

    def _hits(self, batch):
        import tensorflow as tf

        from lbkeras.methods.concurrent_adversarial.perturbation import perturbed

        model = self.model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)

        def loss_of(inputs):
            y_pred = model(inputs, training=False)
            return internals.compute_loss(model, inputs, y, y_pred, sample_weight, training=False)

        spec = internals.output_spec(model, x)
        if not isinstance(spec, keras.KerasTensor) or len(spec.shape) != 2 or spec.shape[1] < 2:
            shapes = keras.tree.map_structure(lambda each: tuple(each.shape), spec)
            raise UserError(
                "model: expected one output of a value for each class, to count right ones, "
                f"received {shapes}"
            )
        state = [(v, tf.convert_to_tensor(v.value)) for v in model.metrics_variables]
        with internals.float_inputs(model), keras.StatelessScope(state):  # losses have metrics
            outputs = model(perturbed(x, self.epsilon, loss_of), training=False)
        labels = tf.argmax(y, 1) if y.shape[1:] == outputs.shape[1:] else tf.reshape(y, [-1])
        right = tf.equal(tf.argmax(outputs, 1), tf.cast(labels, tf.int64))
        return tf.reduce_sum(tf.cast(right, tf.int32))
