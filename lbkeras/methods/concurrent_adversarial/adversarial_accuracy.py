"""Accuracy on unseen examples after one step of an adversary."""

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
    """Logs the accuracy on unseen examples perturbed by the fast gradient sign method.

        x' = x + epsilon · sign(∇_x L(x; θ))

    with the current weights θ and moving statistics, in inference mode. This is a white-box attack
    of one step, without clipping to the range of pixels. It shows how much accuracy a small change
    of every pixel costs; stronger attacks with several steps cost more.

    Logs `val_fgsm_accuracy`, in [0, 1], at the end of the epochs that are measured. Put it before
    callbacks that store logs. With several replicas or workers, each computes the same on one
    device. Costs two forward passes and one backward pass over the examples.

    Args:
        validation: a `lbkeras.data.Pipeline` of unseen examples. Its labels are class indices or
            one-hot, for a model with one output that has a value for each class.
        epsilon: size of the change in each coordinate, above 0, in the unit of the inputs.
        every_epochs: measure also after every `every_epochs` epochs; 0: only at the end, which is
            `fit`'s last epoch or the one after which an earlier callback has set
            `model.stop_training`.

    Raises:
        UserError: an argument is out of range, or Keras' backend is not TensorFlow; when it
            measures, the model's output is not one value for each class, or the inputs have no
            gradient.

    >>> import lbkeras
    >>> test = lbkeras.data.load("digits", "test", batch_size=100)
    >>> model = lbkeras.models.mlp((8, 8, 1), 10, hidden_sizes=())
    >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> measure = AdversarialAccuracy(test, epsilon=1.0)
    >>> list(model.fit(test, callbacks=[measure], verbose=0).history)
    ['loss', 'val_fgsm_accuracy']

    Reference: Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples",
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
        # BatchSizeScheduler stops each epoch with a truthy value other than True.
        last = epoch + 1 == self.params.get("epochs") or self.model.stop_training is True
        if last or self.every_epochs and (epoch + 1) % self.every_epochs == 0:
            logs["val_fgsm_accuracy"] = self.measure()

    def measure(self) -> float:
        """Returns the accuracy that the callback logs, for the current model."""
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
                "model: expected one output with a value for each class, to count correct ones, "
                f"received {shapes}"
            )
        state = [(v, tf.convert_to_tensor(v.value)) for v in model.metrics_variables]
        with internals.float_inputs(model), keras.StatelessScope(state):  # losses update metrics
            outputs = model(perturbed(x, self.epsilon, loss_of), training=False)
        labels = tf.argmax(y, 1) if y.shape[1:] == outputs.shape[1:] else tf.reshape(y, [-1])
        right = tf.equal(tf.argmax(outputs, 1), tf.cast(labels, tf.int64))
        return tf.reduce_sum(tf.cast(right, tf.int32))
