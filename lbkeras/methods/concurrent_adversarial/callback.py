"""Concurrent adversarial learning through `fit`."""

import contextlib
import weakref
from typing import TYPE_CHECKING

from lbkeras import checks
from lbkeras.callbacks.optimizer_settings import check_no_accumulation
from lbkeras.callbacks.pipeline_callback import PipelineCallback
from lbkeras.errors import UserError
from lbkeras.keras_internals import model as internals
from lbkeras.keras_internals.backend import check_backend
from lbkeras.keras_internals.borrowed import borrow, give_back
from lbkeras.methods.micro_batches.passes import passes_of
from lbkeras.methods.micro_batches.train_step import check_model
from lbkeras.methods.noise_scale.pieces_statistics import statistics_of

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline

_UNDIVIDED_ERROR = (
    "callbacks: expected MicroBatches with a micro_batch_size or several replicas beside "
    "ConcurrentAdversarial and what measures gradients, as a probe makes no copies, received "
    "undivided batches"
)
_PASSES = "passes"  # what is borrowed of the model


class ConcurrentAdversarial(PipelineCallback):
    """Trains on each batch and on adversarial copies of it, made with the weights of a step before.

    With θ_t the weights at step t, θ_-1 = θ_0, and L the compiled loss of a batch, a step takes the
    gradient and the loss of

        (L(x_t; θ_t) + L(x'_t; θ_t)) / 2,   x'_t = x_t + epsilon · sign(∇_x L(x_t; θ_{t-1}))

    Regularizers of weights count once. The clean examples and the copies each go through the model
    by themselves, so that batch norm normalizes them apart, and each updates moving statistics of
    its own: the model's are those of the clean examples, with which it predicts and is saved.
    `gamma` and `beta` are shared. Copies are made in training mode, with the statistics of the
    batch and without an update of any.

    The weights of the step before are kept, one more copy of them, and a checkpoint has them. The
    order of data, another batch size and where a run stops play no part. It works with
    `MicroBatches` (each piece has its copies), replicas, any `steps_per_execution` and optimizer.

    After Ctrl-C or an error the model trains in this way until the next `fit` on a Pipeline begins.
    Before one on arrays, or `train_on_batch`, call the callback's `on_train_end()`.

    Logs nothing of its own: `loss` is the mean of both losses, other metrics are those of the clean
    examples. A step costs three passes instead of one and memory for up to two at a time
    (`tools/bench_concurrent_adversarial.py`).

    Args:
        pipeline: the `lbkeras.data.Pipeline` that `fit` gets as `x`. Inputs of floating-point
            numbers and of uint8 are perturbed, others, such as numbers of words, are not.
        epsilon: the length of the step in each coordinate, above 0, in the unit of the inputs that
            `fit` gets: of pixels from 0 to 255 for images that the model itself normalizes.

    Raises:
        UserError: an argument out of its range; in `fit`, a model with its own train step (nodes
            that are stacked have), Keras on another backend than TensorFlow, accumulation of
            gradients by the optimizer; in the first step, before anything changes, inputs without
            a gradient, undivided batches beside `GradientNoiseScale` and its like, and what
            `micro_batch_train_step` raises.

    >>> import keras
    >>> import lbkeras
    >>> train = lbkeras.data.load("digits", "train", batch_size=128)
    >>> model = lbkeras.models.mlp((8, 8, 1), 10, hidden_sizes=())
    >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> history = model.fit(train, callbacks=[ConcurrentAdversarial(train, 1.0)], verbose=0)

    Differs from the paper: there copies are made a step ahead, by other devices; here in the step
    that takes them, with the weights that a step ahead has, which gives the same numbers and needs
    no batch ahead. The mean of both losses stands for their sum. Only the statistics of batch norm
    are apart, not gamma and beta, which a saved model would have to hold twice. Images are not
    clipped to the range of pixels.

    Reference: Liu et al. 2021, "Concurrent Adversarial Learning for Large-Batch Training",
    arXiv:2106.00221; batch norm of adversarial examples by themselves: Xie et al. 2019,
    arXiv:1911.09665.
    """

    changes_the_step = True
    needs_checkpoint = True

    def __init__(self, pipeline: "Pipeline", epsilon: float):
        super().__init__(pipeline)
        check_backend("ConcurrentAdversarial")
        self.epsilon = checks.positive("epsilon", epsilon)
        self._copies = None

    @property
    def variables(self) -> list:
        """What a checkpoint has to hold."""
        return [] if self._copies is None else self._copies.saved

    def set_model(self, model):
        from lbkeras.methods.concurrent_adversarial.stale_copies import StaleCopies

        super().set_model(model)
        check_model(type(self).__name__, model)
        if not all(layer.built for layer in internals.layers(model)):
            internals.build(model, next(iter(self.pipeline.dataset())))
        if self._copies is None or not self._copies.fits(model):
            self._copies = StaleCopies(model, self.epsilon)
        give_back(model, _PASSES)
        self._copies.attach()
        borrowed = weakref.ref(model)
        borrow(model, _PASSES, lambda: _detach(borrowed()))

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        name = type(self).__name__
        check_no_accumulation(self.model.optimizer, name)
        if passes_of(self.model) is not self._copies:
            raise UserError(f"callbacks: expected one {name}, received several")
        statistics = statistics_of(self.model)
        if statistics is not None:
            statistics.undivided_error = _UNDIVIDED_ERROR

    def begin_anew(self):
        self._copies.begin_anew()

    def on_train_end(self, logs=None):
        give_back(self.model, _PASSES)

    def adversarial_statistics(self) -> contextlib.AbstractContextManager[None]:
        """The model predicts with the moving statistics of the copies in this context."""
        return self._copies.statistics_in_use()


def _detach(model) -> bool:
    copies = passes_of(model)
    if copies is not None:
        copies.detach()
    return copies is not None
