"""Logs the columns of a run's history that Keras does not log."""

import time
from typing import TYPE_CHECKING

import keras

from lbkeras.callbacks.optimizer_settings import get_momentum, get_trust_ratios, last_learning_rate
from lbkeras.callbacks.pipeline_callback import PipelineCallback
from lbkeras.planning.noise_scale import noise_scale

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline


class TrainingStatistics(PipelineCallback):
    """Adds the state of the optimization and the speed to each epoch's logs.

    Put it before callbacks that store logs. Logs at the end of each epoch:
    `updates` (optimizer updates so far), `examples_seen` (examples in those updates), `batch_size`,
    `learning_rate` (of the epoch's last update), `momentum` (0 for an optimizer without one),
    `noise_scale` (learning_rate * num_examples / (batch_size * (1 - momentum))), `seconds` (wall
    clock of the epoch's training, without evaluation), `examples_per_second`, and with `LARS` or
    `LAMB` `trust_ratio/LAYER` (of the epoch's last update). Costs one clock reading per step.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that is passed to `fit` as `x`.
    """

    needs_checkpoint = True

    def __init__(self, pipeline: "Pipeline"):
        super().__init__(pipeline)
        self.examples_seen = 0
        self.examples_in_epoch = 0
        self.seconds = 0.0  # of training in this epoch, by this process and earlier ones
        self._last_moment = 0.0

    def begin_anew(self):
        self.examples_seen = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.examples_in_epoch = 0
        self.seconds = 0.0
        self._batches_done = 0
        self._last_moment = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        self.seconds += now - self._last_moment
        self._last_moment = now
        done = min(batch + 1, self.pipeline.steps_in_pass)
        examples = (done - self._batches_done) * self.pipeline.batch_size
        self.examples_in_epoch += examples
        self.examples_seen += examples
        self._batches_done = done

    def on_epoch_end(self, epoch, logs=None):
        if logs is None:
            return
        optimizer = self.model.optimizer
        learning_rate = last_learning_rate(optimizer)
        momentum = get_momentum(optimizer) or 0.0
        batch_size = self.pipeline.batch_size
        logs.update(
            updates=int(keras.ops.convert_to_numpy(optimizer.iterations)),
            examples_seen=self.examples_seen,
            batch_size=batch_size,
            learning_rate=learning_rate,
            momentum=momentum,
            noise_scale=noise_scale(
                learning_rate, momentum, batch_size, self.pipeline.num_examples
            ),
            seconds=self.seconds,
            examples_per_second=self.examples_in_epoch / self.seconds if self.seconds else 0.0,
            **{
                f"trust_ratio/{layer}": ratio
                for layer, ratio in get_trust_ratios(optimizer).items()
            },
        )
