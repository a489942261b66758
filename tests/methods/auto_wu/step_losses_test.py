import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.callbacks import BatchSizeScheduler, MicroBatches
from lbkeras.data import Pipeline
from lbkeras.keras_internals.model import loss_metric
from lbkeras.methods.auto_wu.step_losses import StepLosses


class Recorder(keras.callbacks.Callback):
    def set_model(self, model):
        super().set_model(model)
        self.recorder = StepLosses(model)
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self.recorder.clear()

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self.recorder.read())

    def on_train_end(self, logs=None):
        self.recorder.detach()


class FromRunningMeans(keras.callbacks.Callback):
    """Recovers the losses of equal batches from the running means that Keras logs."""

    def on_epoch_begin(self, epoch, logs=None):
        self.means = []

    def on_train_batch_end(self, batch, logs=None):
        self.means.append(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        sums = np.arange(1, len(self.means) + 1) * np.array(self.means)
        self.epochs = [*getattr(self, "epochs", []), np.diff(sums, prepend=0)]


@pytest.fixture
def expected(compiled, digits):
    plain = FromRunningMeans()
    compiled().fit(Pipeline(digits, 128), epochs=2, verbose=0, callbacks=[plain])
    return plain.epochs


def fit(model, digits, more=()):
    recorder, train = Recorder(), Pipeline(digits, 128)
    callbacks = [*(make(train) for make in more), recorder]
    unseen = Pipeline(digits, 128, shuffle=False)
    model.fit(train, epochs=2, verbose=0, callbacks=callbacks, validation_data=unseen)
    return recorder.epochs


def assert_same(epochs, expected):
    assert [len(losses) for losses in epochs] == [11, 11]
    np.testing.assert_allclose(np.concatenate(epochs), np.concatenate(expected), rtol=2e-4)


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_records_each_updates_loss_but_not_the_evaluations(
    compiled, digits, expected, steps_per_execution
):
    assert_same(fit(compiled(steps_per_execution=steps_per_execution), digits), expected)


@pytest.mark.release  # the gate: test_losses_are_means_over_replicas
def test_records_the_losses_of_all_replicas(compiled, digits, expected, mirrored):
    with mirrored.scope():
        model = compiled()
    assert_same(fit(model, digits), expected)


def test_losses_are_means_over_replicas(compiled, mirrored):
    with mirrored.scope():
        model = compiled()
    losses = StepLosses(model)

    @tf.function
    def run(first):
        def in_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            for step in tf.range(3):
                loss_metric(model).update_state(tf.cast(first + step + replica, tf.float32))

        mirrored.run(in_replica)

    run(tf.constant(0))
    run(tf.constant(3))
    np.testing.assert_array_equal(losses.read(), np.arange(6) + 0.5)
    assert losses.read().shape == (0,)
    run(tf.constant(6))
    np.testing.assert_array_equal(losses.read(), [6.5, 7.5, 8.5])


def test_the_variables_hold_the_whole_state(compiled):
    first, second = compiled(), compiled()
    losses, restored = StepLosses(first), StepLosses(second)
    loss_metric(first).update_state(2.5)
    for ours, theirs in zip(restored.variables, losses.variables, strict=True):
        ours.assign(keras.ops.convert_to_numpy(theirs))
    np.testing.assert_array_equal(restored.read(), [2.5])


def test_more_updates_than_the_table_holds(compiled):
    losses = StepLosses(compiled())
    rows, count = losses.variables
    assert rows.shape == (4096, 1)
    count.assign(4097)
    with pytest.raises(RuntimeError, match="4097 updates since the last reading, room for 4096"):
        losses.read()


def test_records_the_losses_of_all_micro_batches(compiled, digits, expected):
    own = compiled()  # a subclass with its own train step
    model = keras.Model(own.inputs, own.outputs)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), own.loss, metrics=["accuracy"])
    more = [lambda train: BatchSizeScheduler(train, lambda epoch, size: size)]
    more.append(lambda train: MicroBatches(train, 48))
    assert_same(fit(model, digits, more), expected)


def test_detach_restores_the_model(compiled, digits):
    model = compiled()
    before = set(vars(model)), set(vars(loss_metric(model)))
    fit(model, digits)
    recorded = fit(model, digits)
    assert len(recorded) == 2 and all(len(losses) == 11 for losses in recorded)
    assert "test_step" not in vars(model) and "update_state" not in vars(loss_metric(model))
    assert set(vars(loss_metric(model))) == before[1]


def test_an_interrupted_fit_does_not_count_losses_twice(compiled, digits):
    def fail(batch, logs):
        raise RuntimeError("broken")

    model = compiled()
    stop = keras.callbacks.LambdaCallback(on_train_batch_end=fail)
    with pytest.raises(RuntimeError):
        model.fit(Pipeline(digits, 128), verbose=0, callbacks=[Recorder(), stop])
    assert [len(losses) for losses in fit(model, digits)] == [11, 11]
