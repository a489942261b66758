"""Measures Keskar's sharpness of the minimum that training reaches."""

import time
from typing import TYPE_CHECKING

import numpy as np

from lbkeras import checks
from lbkeras.callbacks.pipeline_callback import PipelineCallback
from lbkeras.errors import UserError
from lbkeras.keras_internals.backend import check_backend
from lbkeras.methods.sharpness.maximum import sharpness
from lbkeras.methods.sharpness.random_subspace import RandomSubspace
from lbkeras.metrics import sharpness_name

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline
    from lbkeras.methods.sharpness.flat_loss import FlatLoss

_SECONDS_BETWEEN_LINES = 30.0


class Sharpness(PipelineCallback):
    """Logs how far the training loss rises in a small box around the weights.

        sharpness = 100 (max_{z in C} f(x + A z) - f(x)) / (1 + f(x))
        C = {z: |z_i| <= epsilon (|(A+ x)_i| + 1) for all i}

    f is the training loss with regularization over the training data without augmentation, as
    computed by `lbkeras.trainers.FlatLoss`: in inference mode, with the moving statistics of batch
    norm and without dropout. This is the function used for prediction; in training mode, f would
    depend on how the data are divided into batches. L-BFGS-B searches for the maximum, as described
    in `lbkeras.analysis.sharpness`. Weights and states do not change, bit for bit.

    Logs at the end of each measured epoch, in percent of 1 + f, for each of `subspace_dimensions`
    and `epsilons`: `sharpness` (for None, the full space) or `sharpness_subspace_DIMENSIONS`. For
    an epsilon other than 1e-3 the name ends in `_EPSILON`: `sharpness_5e-4`,
    `sharpness_subspace_100_5e-4`. The value is infinite if the search finds a point in the box
    where the loss is not finite. Put this callback before callbacks that store logs. With several
    workers, each of them computes the same.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that is passed to `fit` as `x`.
        epsilons: half-widths of the box, relative to |(A+ x)_i| + 1, positive.
        subspace_dimensions: numbers of random directions; None for the full space.
        examples: number of examples to use, from the start of the training data; None: all.
        every_epochs: also measure every `every_epochs` epochs. 0: only at the end, after the last
            epoch of `fit` or the epoch after which an earlier callback has set
            `model.stop_training`.
        iterations: iterations of L-BFGS-B.
        batch_size: examples per forward and backward pass; it affects only memory.
        seed: seed of the random directions, which are the same in every epoch, and of the search.

    Raises:
        UserError: an argument is out of range, or Keras' backend is not TensorFlow. In `fit`: the
            model is a `lbkeras.trainers.StackedNodes`, or there are more dimensions than weights.

    Cost: for each epsilon and each of `subspace_dimensions` about `iterations` + 1 forward and
    backward passes over the examples on one device, 45 by default; memory for 25 float64 vectors of
    the size of the weights, and up to 1 GiB for the random directions. Unless `fit` is called with
    `verbose=0`, a progress line is printed every 30 seconds.

    Differs from the paper: as described in `lbkeras.analysis.sharpness`. The paper does not say
    which statistics batch norm used.

    Example:

    >>> import keras
    >>> import lbkeras
    >>> train = lbkeras.data.load("digits", "train", batch_size=128)
    >>> model = lbkeras.models.mlp((8, 8, 1), 10, hidden_sizes=())
    >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> measure = Sharpness(train, epsilons=(1e-3,), subspace_dimensions=(None, 10))
    >>> list(model.fit(train, callbacks=[measure], verbose=0).history)
    ['loss', 'sharpness', 'sharpness_subspace_10']

    Reference: Keskar, Mudigere, Nocedal, Smelyanskiy, Tang, "On Large-Batch Training for Deep
    Learning: Generalization Gap and Sharp Minima", arXiv:1609.04836, section 2.2.2.
    """

    def __init__(
        self,
        pipeline: "Pipeline",
        *,
        epsilons: tuple[float, ...] | list[float] = (1e-3, 5e-4),
        subspace_dimensions: tuple[int | None, ...] | list[int | None] = (None, 100),
        examples: int | None = None,
        every_epochs: int = 0,
        iterations: int = 10,
        batch_size: int = 1000,
        seed: int = 0,
    ):
        super().__init__(pipeline)
        check_backend("Sharpness")
        for name, values in (("epsilons", epsilons), ("subspace_dimensions", subspace_dimensions)):
            if not isinstance(values, tuple | list) or not values:
                raise UserError(f"{name}: expected a tuple of at least one, received {values!r}")
        for epsilon in epsilons:
            checks.positive("epsilons", epsilon)
        most = pipeline.num_examples
        if examples is not None:
            checks.integer("examples", examples, minimum=1, maximum=most)
        for name, number, least in (
            *(("subspace_dimensions", n, 1) for n in subspace_dimensions if n is not None),
            ("every_epochs", every_epochs, 0),
            ("iterations", iterations, 1),
            ("batch_size", batch_size, 1),
        ):
            checks.integer(name, number, minimum=least)
        self.epsilons = tuple(epsilons)
        self.subspace_dimensions = tuple(subspace_dimensions)
        self.examples = examples
        self.every_epochs = every_epochs
        self.iterations = iterations
        self.batch_size = batch_size
        self.seed = checks.integer("seed", seed, minimum=0)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        from lbkeras.methods.sharpness.flat_loss import FlatLoss

        FlatLoss.check(self.model)
        weights = sum(int(np.prod(v.shape)) for v in self.model.trainable_variables)
        for dimensions in self.subspace_dimensions:
            if dimensions is not None and dimensions > weights:
                raise UserError(
                    f"subspace_dimensions: expected at most the model's {weights} weights, "
                    f"received {dimensions}"
                )

    def on_epoch_end(self, epoch, logs=None):
        if logs is None:
            return
        # BatchSizeScheduler ends each epoch by setting another truthy value.
        last = epoch + 1 == self.params.get("epochs") or self.model.stop_training is True
        if last or self.every_epochs and (epoch + 1) % self.every_epochs == 0:
            logs.update(self.measure())

    def measure(self) -> dict[str, float]:
        """Measures the model as it is now and returns what the callback logs."""
        from lbkeras.methods.sharpness.flat_loss import FlatLoss

        loss = FlatLoss(self.model, self.pipeline, self.examples, self.batch_size)
        progress = _Progress(loss, self._most_passes() if self.params.get("verbose") else None)
        value = progress.value_and_gradient(loss.weights)[0]
        measured = {}
        for dimensions in self.subspace_dimensions:
            subspace = None
            if dimensions is not None:
                subspace = RandomSubspace(len(loss.weights), dimensions, self.seed)
            for epsilon in self.epsilons:
                measured[sharpness_name(dimensions, epsilon)] = sharpness(
                    progress.value_and_gradient,
                    loss.weights,
                    epsilon,
                    subspace,
                    iterations=self.iterations,
                    seed=self.seed,
                    value=value,
                )
        return measured

    def _most_passes(self) -> int:
        return 1 + len(self.epsilons) * len(self.subspace_dimensions) * (self.iterations + 1)


class _Progress:
    """Wraps the loss and prints from time to time how many passes it has made."""

    def __init__(self, loss: "FlatLoss", passes: int | None):
        self._loss = loss
        self._passes = passes
        self._done = 0
        self._spoke = time.monotonic()

    def value_and_gradient(self, weights):
        result = self._loss.value_and_gradient(weights)
        self._done += 1
        if self._passes and time.monotonic() - self._spoke > _SECONDS_BETWEEN_LINES:
            self._spoke = time.monotonic()
            print(f"sharpness: {self._done} of about {self._passes} passes", flush=True)
        return result
