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
    "callbacks: expected MicroBatches with a micro_batch_size or several replicas with "
    "ConcurrentAdversarial and a callback that measures gradients, as a probe makes no adversarial "
    "copies, received undivided batches"
)
_PASSES = "passes"  # name of what is borrowed from the model


class ConcurrentAdversarial(PipelineCallback):
    """Trains on each batch and on adversarial copies of it, made with the previous step's weights.

    With θ_t the weights at step t, θ_-1 = θ_0, and L the compiled loss of a batch, a step takes the
    gradient and the loss of

        (L(x_t; θ_t) + L(x'_t; θ_t)) / 2,   x'_t = x_t + epsilon · sign(∇_x L(x_t; θ_{t-1}))

    Weight regularizers count once. The clean examples and the copies go through the model
    separately, so that batch norm normalizes each by its own statistics. Each also updates its own
    moving statistics: the model predicts with those of the clean examples and is saved with them.
    `gamma` and `beta` are shared. The copies are made in training mode, with the statistics of the
    batch, and this updates no moving statistics.

    The callback keeps a copy of the previous step's weights, which checkpoints save too. The order
    of the data, a change of the batch size and the place where a run stops make no difference.
    Works with `MicroBatches` (each micro-batch has its copies), replicas, any `steps_per_execution`
    and any optimizer.

    After Ctrl-C or an error the model continues to train this way until the next `fit` on a
    Pipeline begins. Call the callback's `on_train_end()` before `fit` on arrays or
    `train_on_batch`.

    Logs nothing of its own: `loss` is the mean of both losses, other metrics are those of the clean
    examples. A step costs three passes instead of one, and memory for up to two at a time
    (`tools/bench_concurrent_adversarial.py`).

    Args:
        pipeline: the `lbkeras.data.Pipeline` that is passed to `fit` as `x`. Floating-point and
            uint8 inputs are perturbed; others, such as word indices, are not.
        epsilon: length of the step in each coordinate, above 0, in the unit of the inputs that
            `fit` gets: pixel values from 0 to 255 for images that the model itself normalizes.

    Raises:
        UserError: an argument is out of range, or Keras' backend is not TensorFlow; in `fit`,
            for a model with its own train step (such as `StackedNodes`), or an optimizer that
            accumulates gradients; in the first step, before anything changes, for inputs without a
            gradient, undivided batches beside `GradientNoiseScale` or a similar callback, and
            whatever `micro_batch_train_step` refuses.

    >>> import keras
    >>> import lbkeras
    >>> train = lbkeras.data.load("digits", "train", batch_size=128)
    >>> model = lbkeras.models.mlp((8, 8, 1), 10, hidden_sizes=())
    >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> history = model.fit(train, callbacks=[ConcurrentAdversarial(train, 1.0)], verbose=0)

    Differs from the paper: the authors make the copies one step ahead, on other devices. Here they
    are made in the step that uses them, with the previous step's weights, which gives the same
    numbers and needs no batch in advance. The mean of both losses replaces their sum. Only the
    statistics of batch norm are separate, not gamma and beta, which a saved model would have to
    hold twice. Images are not clipped to the range of pixels.

    Reference: Liu et al. 2021, "Concurrent Adversarial Learning for Large-Batch Training",
    arXiv:2106.00221; separate batch norm for adversarial examples: Xie et al. 2019,
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
        """What a checkpoint has to save."""
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
        """Returns a context in which the model predicts with the copies' moving statistics."""
        return self._copies.statistics_in_use()


def _detach(model) -> bool:
    copies = passes_of(model)
    if copies is not None:
        copies.detach()
    return copies is not None
