"""Measures the gradient noise scale during training."""

import math
from typing import TYPE_CHECKING

import numpy as np

from lbkeras import checks
from lbkeras.callbacks.optimizer_settings import base_optimizer
from lbkeras.callbacks.pipeline_callback import PipelineCallback
from lbkeras.errors import UserError
from lbkeras.keras_internals import model as internals
from lbkeras.keras_internals.backend import on_jax
from lbkeras.methods.noise_scale.averages import GradientNoiseAverages
from lbkeras.methods.noise_scale.estimates import piece_estimates
from lbkeras.methods.noise_scale.pieces_statistics import statistics_of
from lbkeras.methods.noise_scale.second_moments import has_second_moments
from lbkeras.methods.noise_scale.statistics import GradientStatistics

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline

_PROBED_BATCHES = 4  # per probe; each gives an estimate, and their spread gives the error
_PROBED_PIECES = 8  # per probed batch


class GradientNoiseScale(PipelineCallback):
    """Measures the gradient noise scale during `fit`: an estimate of the critical batch size.

        gradient_noise_scale = mean of tr(Σ) / mean of |G|²

    with Σ the covariance of the examples' gradients and G the gradient of the loss. tr(Σ) and |G|²
    are estimated without bias from the pieces of each update's gradient (`GradientStatistics`).
    Batch sizes well below the gradient noise scale can grow without training on more examples;
    those well above it waste examples.

    The pieces are parts that training computes anyway: micro-batches (with `MicroBatches` at any
    position in the list of callbacks), the replicas' parts of a batch on TensorFlow, or both.
    Without these, each epoch ends with a probe, and a line is printed: gradients of examples from
    the next epoch are computed in 4 batches of 8 pieces (more if a piece would exceed the batch
    size), without an update. The callback does not change training: weights are bit for bit the
    same, or equal up to rounding if compiled by XLA.

    Logs at the end of each epoch:

    - `gradient_noise_scale`, in examples
    - `gradient_noise_scale_error`: its standard error
    - `gradient_variance`: tr(Σ)
    - `gradient_squared_norm`: |G|²
    - `gradient_noise_scale/LAYER` with `per_layer`

    If |G|² is not above its own error, the noise scale is the lower bound tr(Σ) / error of |G|²,
    and its error is the same number (see `GradientNoiseAverages`). Nothing is logged before there
    are two estimates.

    Cost: one pass over each piece's gradients, below 2 % of a step. A probe has small pieces and
    takes 1.5 to 1.9 times as long as training on its examples.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that is passed to `fit` as `x`.
        window_epochs: epochs until an update's weight in the means has fallen to 1/e, above 0;
            counted in examples, so it does not depend on the batch size.
        probe_examples: examples per probe, at least 64 (or all, if there are fewer). None: a tenth
            of the data, but at least 1,024 (or all, if there are fewer) and at most 8,192.
        per_layer: whether to log the noise scale of each layer too.
        preconditioned: whether to divide gradients by √v̂ + epsilon, with v̂ Adam's second moment.
            This gives the noise scale of the direction of Adam's step. None: True for optimizers
            with second moments, such as Adam.

    Attributes:
        gradient_noise_scale, gradient_noise_scale_error, gradient_variance, gradient_squared_norm:
            the latest logged values, or None.
        layers: the noise scale of each layer with `per_layer`, otherwise empty.
        source: `"training"` or `"probe"`, the source of the last epoch's estimates; None before.

    Raises:
        UserError: an argument is out of range. In `fit`: as for `GradientStatistics`, or there
            is a second callback of this kind.

    >>> import keras
    >>> from lbkeras.callbacks import MicroBatches
    >>> from lbkeras.data import Pipeline
    >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    >>> train, model = Pipeline((x, x[:, 0]), 32), keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> measured = [GradientNoiseScale(train), MicroBatches(train, 4)]
    >>> 0 < model.fit(train, verbose=0, callbacks=measured).history["gradient_noise_scale"][0] < 64
    True

    Differs from the paper: the estimates use all pieces of an update instead of one small batch.

    Reference: McCandlish et al., arXiv:1812.06162, appendix A.1; for Adam, Qiao et al. 2021
    (Pollux), arXiv:2008.12260, and its code.
    """

    needs_checkpoint = True

    def __init__(
        self,
        pipeline: "Pipeline",
        *,
        window_epochs: float = 1.0,
        probe_examples: int | None = None,
        per_layer: bool = False,
        preconditioned: bool | None = None,
    ):
        super().__init__(pipeline)
        self.window_epochs = checks.positive("window_epochs", window_epochs)
        if probe_examples is not None:
            least = min(_PROBED_BATCHES * _PROBED_PIECES * 2, pipeline.num_examples)
            most = pipeline.num_examples
            checks.integer("probe_examples", probe_examples, minimum=least, maximum=most)
        self.probe_examples = probe_examples
        self.per_layer = checks.flag("per_layer", per_layer)
        if preconditioned is not None:
            checks.flag("preconditioned", preconditioned)
        self.preconditioned = preconditioned
        self._forget()
        self._statistics = None

    def _forget(self):
        self.gradient_noise_scale = self.gradient_noise_scale_error = None
        self.gradient_variance = self.gradient_squared_norm = None
        self.layers = {}
        self.source = None
        self.updates_before = 0  # number of estimates at the start of the epoch

    @property
    def variables(self) -> list:
        """State to save in a checkpoint, in addition to the public attributes."""
        return [] if self._statistics is None else self._statistics.variables

    def set_model(self, model):
        super().set_model(model)
        state = None if self._statistics is None else self._statistics.read()
        preconditioned = self.preconditioned
        if preconditioned is None:
            preconditioned = has_second_moments(base_optimizer(model.optimizer))
        other = statistics_of(model)
        if other is not None:
            other.detach()  # of an interrupted `fit` or another callback: see on_train_begin
        if not all(layer.built for layer in internals.layers(model)):
            internals.build(model, next(iter(self.pipeline.dataset())))
        self._statistics = GradientStatistics(model, self.per_layer, preconditioned)
        if state is not None and state.shape == self._statistics.read().shape:
            self._statistics.write(state)  # this `fit` continues an earlier one
        self._statistics.attach()
        self._probe = None
        self._epoch_begins = False

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if not self._statistics.is_attached:
            raise UserError(
                f"callbacks: expected one that measures gradients, received {type(self).__name__} "
                "and another one"
            )

    def begin_anew(self):
        self._forget()
        self._statistics.write(np.zeros_like(self._statistics.read()))

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_begins = True
        self.updates_before = self._averages().updates

    def on_train_batch_begin(self, batch, logs=None):
        if self._epoch_begins:  # now every callback has run, and the batch size is this epoch's
            self._epoch_begins = False
            self._statistics.set_decay(self._decay())

    def on_epoch_end(self, epoch, logs=None):
        averages = self._averages()
        if averages.updates > self.updates_before:
            self.source = "training"
        elif self._may_probe():
            self._add_probe(averages, epoch + 1)
            self._statistics.write(averages.state)
        self._publish(averages)
        if logs is not None:
            logs.update(self._logs())

    def on_train_end(self, logs=None):
        if self._statistics.is_attached:
            self._statistics.detach()

    def bounds(self) -> tuple[float, float]:
        """Returns the current `GradientNoiseAverages.bounds`."""
        return self._averages().bounds()

    def _averages(self) -> GradientNoiseAverages:
        return GradientNoiseAverages(self._statistics.read())

    def _decay(self) -> float:
        """Returns the factor by which an update of this epoch reduces earlier updates' weights."""
        epochs = self.pipeline.batch_size / self.pipeline.num_examples
        return math.exp(-epochs / self.window_epochs)

    def _publish(self, averages: GradientNoiseAverages) -> None:
        columns = averages.columns()
        if not np.isfinite(columns["noise_scale"][-1]):
            return
        self.gradient_noise_scale = averages.noise_scale
        self.gradient_noise_scale_error = averages.error
        self.gradient_variance = averages.variance
        self.gradient_squared_norm = averages.squared_norm
        layers = zip(self._statistics.columns, columns["noise_scale"], strict=True)
        self.layers = {
            name: float(value) if np.isfinite(value) else self.layers.get(name, 0.0)
            for name, value in [*layers][:-1]
        }

    def _logs(self) -> dict:
        if self.gradient_noise_scale is None:
            return {}
        return {
            "gradient_noise_scale": self.gradient_noise_scale,
            "gradient_noise_scale_error": self.gradient_noise_scale_error,
            "gradient_variance": self.gradient_variance,
            "gradient_squared_norm": self.gradient_squared_norm,
            **{f"gradient_noise_scale/{layer}": value for layer, value in self.layers.items()},
        }

    # The probe, for training without pieces.

    def _may_probe(self) -> bool:
        return on_jax() or self.model.distribute_strategy.num_replicas_in_sync == 1

    def _add_probe(self, averages: GradientNoiseAverages, epoch: int) -> None:
        """Adds the estimates of a probe of the next epoch's examples."""
        examples, pipeline = self._probed_examples(), self.pipeline
        size = max(examples // (_PROBED_BATCHES * _PROBED_PIECES), 1)
        size = min(size, pipeline.batch_size)  # which fits into memory
        pieces = max(min(examples // (_PROBED_BATCHES * size), examples // size // 2), 2)
        if self.source != "probe" and self._speaks():
            probed = _PROBED_BATCHES * pieces * size
            self._say(
                f"gradient noise scale: from {probed:,} examples probed per epoch "
                "(no micro-batches or replicas)"
            )
        self.source = "probe"
        probe, batches_in_pieces = _probing()
        if self._probe is None:
            self._probe = probe(self.model, self._statistics)
        # A probe represents the epoch since the previous probe.
        decay = math.exp(-1 / self.window_epochs / _PROBED_BATCHES)
        dataset = pipeline.dataset(epoch)
        for parts in batches_in_pieces(dataset, pieces, size, _PROBED_BATCHES):
            sizes, norms, whole = self._probe(parts)
            sizes = np.broadcast_to(sizes, norms.shape)
            averages.add(*piece_estimates(sizes, norms, whole), decay)

    def _probed_examples(self) -> int:
        pipeline = self.pipeline
        wanted = self.probe_examples
        if wanted is None:
            wanted = min(max(pipeline.num_examples // 10, 1024), 8192)
        return min(wanted, pipeline.steps_per_epoch * pipeline.batch_size)


def _probing():
    """Returns the probe class and the function that makes its batches, for the current backend."""
    if on_jax():
        from lbkeras.methods.noise_scale import jax_probe

        return jax_probe.GradientProbe, jax_probe.batches_in_pieces
    from lbkeras.methods.noise_scale import tensorflow_probe

    return tensorflow_probe.GradientProbe, tensorflow_probe.batches_in_pieces
