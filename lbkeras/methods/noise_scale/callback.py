"""How large a batch still pays, measured while training."""

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

_PROBED_BATCHES = 4  # of a probe, each an estimate: their spread gives the error
_PROBED_PIECES = 8  # of each of them


class GradientNoiseScale(PipelineCallback):
    """Measures McCandlish's gradient noise scale, about the critical batch size, as `fit` goes on.

    With Σ the covariance of the examples' gradients and G the gradient of the loss, estimated
    without bias from the pieces of each update's gradient (`GradientStatistics`),

        gradient_noise_scale = mean of tr(Σ) / mean of |G|²

    Batches well below it can grow without needing more examples; those well above it waste them.

    The pieces are what training computes anyway: micro-batches (with `MicroBatches`, anywhere in
    the list of callbacks), the parts of TensorFlow's replicas, or both. Epochs without either end
    with a probe: gradients of examples from the coming epoch, in 4 batches of 8 pieces, without an
    update; a line says so. Training is bit for bit as without this callback (compiled by XLA: to
    rounding).

    Logs at each epoch's end `gradient_noise_scale` in examples, `gradient_noise_scale_error`, its
    standard error, `gradient_variance`, tr(Σ), `gradient_squared_norm`, |G|², and on request
    `gradient_noise_scale/LAYER`. Where |G|² is not above its own error the noise scale is the lower
    bound tr(Σ) / error of |G|², and its error the same number; before there are two estimates
    there are no logs (`GradientNoiseAverages`).

    Costs a pass over each piece's gradients, under 2 % of a step; a probe, whose pieces are small,
    1.5 to 1.9 times what training on its examples takes.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that `fit` gets as `x`.
        window_epochs: epochs after which an update's weight in the means has fallen to 1/e, above
            0; counted in examples, so it holds for every batch size.
        probe_examples: of a probe, at least 64; None: a tenth of the data, at least 1,024 and at
            most 8,192, or all where there are fewer.
        per_layer: logs the noise scale of each layer too.
        preconditioned: gradients are divided by √v̂ + epsilon of Adam's second moment, which is the
            noise scale of the direction that Adam takes. None: for optimizers like Adam.

    Attributes:
        gradient_noise_scale, gradient_noise_scale_error, gradient_variance, gradient_squared_norm:
            the latest of the logs, or None.
        layers: the noise scale of each layer, where asked for.
        source: `"training"` or `"probe"`: where the last epoch's estimates came from; None before.

    Raises:
        UserError: an argument out of its range; in `fit`, what `GradientStatistics` raises, a
            second callback of this kind.

    >>> import keras
    >>> from lbkeras.callbacks import MicroBatches
    >>> from lbkeras.data import Pipeline
    >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    >>> train, model = Pipeline((x, x[:, 0]), 32), keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> measured = [GradientNoiseScale(train), MicroBatches(train, 4)]
    >>> 0 < model.fit(train, verbose=0, callbacks=measured).history["gradient_noise_scale"][0] < 64
    True

    Differs from the paper: all pieces of an update count, instead of one small batch.

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
        self.updates_before = 0  # estimates that the means held when the epoch began

    @property
    def variables(self) -> list:
        """What a checkpoint has to hold beside the public attributes."""
        return [] if self._statistics is None else self._statistics.variables

    def set_model(self, model):
        super().set_model(model)
        state = None if self._statistics is None else self._statistics.read()
        preconditioned = self.preconditioned
        if preconditioned is None:
            preconditioned = has_second_moments(base_optimizer(model.optimizer))
        other = statistics_of(model)
        if other is not None:
            other.detach()  # of a `fit` that broke off, or of another callback: see on_train_begin
        if not all(layer.built for layer in internals.layers(model)):
            internals.build(model, next(iter(self.pipeline.dataset())))
        self._statistics = GradientStatistics(model, self.per_layer, preconditioned)
        if state is not None and state.shape == self._statistics.read().shape:
            self._statistics.write(state)  # a `fit` from a later epoch on
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
        if self._epoch_begins:  # every callback has done its part: the batch size is this epoch's
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
        """`GradientNoiseAverages.bounds`, now."""
        return self._averages().bounds()

    def _averages(self) -> GradientNoiseAverages:
        return GradientNoiseAverages(self._statistics.read())

    def _decay(self) -> float:
        """What an update of this epoch leaves of the weights of those before it."""
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

    # The probe, where training has no pieces.

    def _may_probe(self) -> bool:
        return on_jax() or self.model.distribute_strategy.num_replicas_in_sync == 1

    def _add_probe(self, averages: GradientNoiseAverages, epoch: int) -> None:
        """Adds the estimates of a probe of the epoch that comes."""
        examples, pipeline = self._probed_examples(), self.pipeline
        size = max(examples // (_PROBED_BATCHES * _PROBED_PIECES), 1)
        size = min(size, pipeline.batch_size)  # what fits into memory
        pieces = max(min(examples // (_PROBED_BATCHES * size), examples // size // 2), 2)
        if self.source != "probe" and self._speaks():
            probed = _PROBED_BATCHES * pieces * size
            self._say(
                f"gradient noise scale: from {probed:,} examples probed per epoch (no pieces)"
            )
        self.source = "probe"
        probe, batches_in_pieces = _probing()
        if self._probe is None:
            self._probe = probe(self.model, self._statistics)
        # A probe stands for the epoch since the last one.
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
    """On the backend that runs, the class of the probe, and what makes its batches."""
    if on_jax():
        from lbkeras.methods.noise_scale import jax_probe

        return jax_probe.GradientProbe, jax_probe.batches_in_pieces
    from lbkeras.methods.noise_scale import tensorflow_probe

    return tensorflow_probe.GradientProbe, tensorflow_probe.batches_in_pieces
