"""Every callback of a Pipeline acts on the `fit` that trains on it, or refuses at once."""

import keras
import numpy as np
import pytest

from lbkeras import callbacks
from lbkeras.callbacks.pipeline_callback import PipelineCallback
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.planning import Phase, Plan, auto_wu_plan

N = 96


def doubling(epoch, size):
    return size * 2 if epoch else size


MAKE = {
    "AdaScale": lambda train, tmp: callbacks.AdaScale(train, 8, 3, 0.05),
    "AdaptiveBatchSize": lambda train, tmp: callbacks.AdaptiveBatchSize(train, max_batch_size=48),
    "AutoWU": lambda train, tmp: callbacks.AutoWU(
        train, auto_wu_plan(num_examples=N, batch_size=8, momentum=0.0, epochs=6)
    ),
    "BatchSizeScheduler": lambda train, tmp: callbacks.BatchSizeScheduler(train, doubling),
    "Checkpoint": lambda train, tmp: callbacks.Checkpoint(tmp, train),
    "ConcurrentAdversarial": lambda train, tmp: callbacks.ConcurrentAdversarial(train, 0.1),
    "GradientNoiseScale": lambda train, tmp: callbacks.GradientNoiseScale(train),
    "MicroBatches": lambda train, tmp: callbacks.MicroBatches(train, 4),
    "ProgressBar": lambda train, tmp: callbacks.ProgressBar(train),
    "Sharpness": lambda train, tmp: callbacks.Sharpness(train, subspace_dimensions=(3,)),
    "TrainingStatistics": lambda train, tmp: callbacks.TrainingStatistics(train),
}
OWNERS = {
    "batch_size": ("AdaptiveBatchSize", "BatchSizeScheduler"),
    "learning_rate": ("AdaScale", "AdaptiveBatchSize", "AutoWU"),
}
every_callback = pytest.mark.parametrize("name", MAKE)


def arrays():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(N, 4)).astype("float32")
    return x, x @ generator.normal(size=(4, 1)).astype("float32")


def model():
    keras.utils.set_random_seed(1)
    one = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    one.compile(keras.optimizers.SGD(0.05), "mse")
    return one


def pipeline(**arguments):
    return Pipeline(arrays(), 8, seed=1, **arguments)


def refused(x, *chosen, **arguments) -> str:
    one = model()
    with pytest.raises(UserError) as error:
        one.fit(x, epochs=3, verbose=0, callbacks=list(chosen), **arguments)
    assert int(one.optimizer.iterations.numpy()) == 0
    return str(error.value)


def test_the_list_is_complete():
    exported = {n for n in callbacks.__all__ if issubclass(getattr(callbacks, n), PipelineCallback)}
    assert exported == set(MAKE)
    owners = {n for n in MAKE if getattr(callbacks, n).owns_batch_size}
    assert owners == set(OWNERS["batch_size"])
    owners = {n for n in MAKE if getattr(callbacks, n).owns_learning_rate}
    assert owners == set(OWNERS["learning_rate"])


@every_callback
def test_the_data_of_fit_are_not_its_pipeline(name, tmp_path):
    train = pipeline()
    begins = f"{name}: expected its own Pipeline as the data of model.fit(pipeline, ...), received "
    x, y = arrays()
    assert refused(x, MAKE[name](train, tmp_path), y=y) == begins + "numpy.ndarray"
    assert refused(pipeline(), MAKE[name](train, tmp_path)) == begins + "another Pipeline"


@every_callback
def test_steps_per_epoch(name, tmp_path):
    train = pipeline()
    message = refused(train, MAKE[name](train, tmp_path), steps_per_epoch=2)
    assert message.startswith(f"steps_per_epoch: expected none with {name}, ")


@every_callback
def test_no_pipeline_at_all(name, tmp_path):
    with pytest.raises(UserError, match="pipeline: expected a lbkeras.data.Pipeline, received tup"):
        MAKE[name](arrays(), tmp_path)


@pytest.mark.parametrize("quantity", OWNERS)
def test_two_owners(quantity, tmp_path):
    for first in OWNERS[quantity]:
        for second in OWNERS[quantity]:
            train = pipeline()
            chosen = [MAKE[each](train, tmp_path) for each in (first, second)]
            message = refused(train, *chosen)
            if "gradients" not in message:  # two that measure gradients are refused as well
                assert message.startswith(f"{quantity}: ") or "AdaptiveBatchSize" in (first, second)
                assert first in message and second in message


@pytest.mark.parametrize("name", OWNERS["learning_rate"])
def test_keras_own_owners_of_the_learning_rate(name, tmp_path):
    for theirs in (
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate),
        keras.callbacks.ReduceLROnPlateau(),
    ):
        train = pipeline()
        ours = MAKE[name](train, tmp_path)
        for chosen in ([ours, theirs], [theirs, ours]):
            message = refused(train, *chosen)
            assert message.startswith("learning_rate: ")
            assert name in message and type(theirs).__name__ in message


def test_an_owner_inside_another_callback():
    class Holder(keras.callbacks.Callback):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def set_model(self, model):
            super().set_model(model)
            self.inner.set_model(model)

        def on_epoch_begin(self, epoch, logs=None):
            self.inner.on_epoch_begin(epoch, logs)

    train = pipeline()
    scheduler = callbacks.BatchSizeScheduler(train, doubling)
    assert refused(train, Holder(scheduler)).startswith("callbacks: expected the callback that")


@pytest.mark.parametrize(
    "dropped",
    [
        {"class_weight": {0: 1.0, 1: 2.0}},
        {"sample_weight": np.ones(N)},
        {"y": np.ones(N)},
        {"batch_size": 16},
    ],
    ids=lambda dropped: next(iter(dropped)),
)
def test_what_keras_drops_with_a_pipeline(dropped):
    (name,) = dropped
    for chosen in ([], [callbacks.BatchSizeScheduler(train := pipeline(), doubling)]):
        message = refused(train if chosen else pipeline(), *chosen, **dropped)
        assert message.startswith(f"{name}: expected ")
        assert message.endswith(f", received fit({name}=...)")
    if name != "class_weight":
        with pytest.raises(UserError, match=rf"received evaluate\({name}=...\)"):
            model().evaluate(pipeline(shuffle=False), verbose=0, **dropped)


def trained(train, *chosen, one=None, **arguments):
    """Returns history and weights after three epochs."""
    one = one or model()
    history = one.fit(train, **{"epochs": 3, "verbose": 0, **arguments}, callbacks=list(chosen))
    return history.history, one.get_weights()


def assert_same(one, other):
    assert one[0].keys() == other[0].keys()
    for name in one[0].keys() - {"examples_per_second", "seconds"}:
        np.testing.assert_array_equal(one[0][name], other[0][name], err_msg=name)
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.release  # the gate: test_the_same_callback_twice
@every_callback
def test_the_same_cell_twice(name, tmp_path):
    """A new model and a new callback, the same Pipeline."""
    train = pipeline()
    first, second = (trained(train, MAKE[name](train, tmp_path / str(i))) for i in range(2))
    assert_same(second, first)


@every_callback
@pytest.mark.slow
def test_the_same_callback_twice(name, tmp_path):
    train = pipeline()
    one = MAKE[name](train, tmp_path)
    first, second = (trained(train, one) for _ in range(2))
    assert_same(second, first)


@pytest.mark.slow
def test_two_arms_on_one_pipeline_do_not_see_each_other(tmp_path):
    alone = trained(pipeline())
    train = pipeline()
    grown = trained(train, callbacks.BatchSizeScheduler(train, doubling))
    assert grown[0]["batch_size"] == [8, 16, 32]
    assert_same(trained(train), alone)
    again = trained(train, callbacks.BatchSizeScheduler(train, doubling))
    assert_same(again, grown)


def test_a_pipeline_that_was_scheduled_is_evaluated():
    train = pipeline(shuffle=False)
    grown = model()
    trained(train, callbacks.BatchSizeScheduler(train, doubling), one=grown)
    x, y = arrays()
    expected = grown.evaluate(x, y, verbose=0)
    assert grown.evaluate(train, verbose=0) == pytest.approx(expected, rel=1e-6)


def test_a_fit_from_a_later_epoch_continues():
    train = pipeline()
    scheduler = callbacks.BatchSizeScheduler(train, doubling)
    whole = trained(pipeline_ := pipeline(), callbacks.BatchSizeScheduler(pipeline_, doubling))
    one = model()
    trained(train, scheduler, one=one, epochs=2)
    rest, weights = trained(train, scheduler, one=one, initial_epoch=2)
    assert rest["batch_size"] == [32]
    for a, b in zip(weights, whole[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_optimizer_has_its_own_momentum_again():
    plan = Plan([Phase(0, 1, 8, 0.05, 0.5), Phase(1, 2, 16, 0.05, 0.9)], N)
    train, one = pipeline(), model()
    one.compile(keras.optimizers.SGD(0.05, momentum=0.5), "mse")
    first = trained(train, callbacks.BatchSizeScheduler(train, plan), one=one)
    assert one.optimizer.momentum == 0.5
    assert first[0]["batch_size"] == [8, 16, 16]


def test_a_custom_loop_is_not_refused():
    """Callbacks may be called outside of `fit`; lbkeras cannot look into a custom loop."""
    train, one = pipeline(), model()
    scheduler = callbacks.BatchSizeScheduler(train, doubling)
    called = keras.callbacks.CallbackList([scheduler], model=one)
    called.on_train_begin()
    for epoch in range(2):
        called.on_epoch_begin(epoch)
        for x, y in train.dataset(epoch):
            one.train_on_batch(x, y)
        called.on_epoch_end(epoch)
    assert int(one.optimizer.iterations.numpy()) == N // 8 + N // 16


# Keras' BackupAndRestore keeps weights, optimizer and epoch number, but no state of callbacks.

RIGHT_AFTER_A_BACKUP = ("MicroBatches", "ProgressBar", "Sharpness")


class Killed(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", [name for name in MAKE if name not in RIGHT_AFTER_A_BACKUP])
def test_a_backup_that_does_not_restore_its_state(name, tmp_path):
    for first in (True, False):
        train, backup = pipeline(), keras.callbacks.BackupAndRestore(tmp_path / "backup")
        ours = MAKE[name](train, tmp_path)
        message = refused(train, *([ours, backup] if first else [backup, ours]))
        if name == "Checkpoint":
            assert message == (
                "callbacks: expected Checkpoint or BackupAndRestore, as each restores its own "
                "state, received both"
            )
        else:
            assert message == (
                "callbacks: expected lbkeras.callbacks.Checkpoint, which restores the state of "
                f"{name}, received Keras' BackupAndRestore, which does not"
            )
    assert not (tmp_path / "backup").exists()


def test_a_backup_inside_an_epoch_of_a_plan(tmp_path):
    train = pipeline()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=5)
    plan = Plan([Phase(0, 3, 8, 0.05, 0.0)], N)
    message = refused(train, callbacks.BatchSizeScheduler(train, plan), backup)
    assert message.startswith("save_freq: expected BackupAndRestore(save_freq='epoch') with Ba")
    assert message.endswith(", received 5")


def two_phases():
    return Plan([Phase(0, 2, 8, 0.05, 0.0), Phase(2, 1, 24, 0.05, 0.0)], N)


@pytest.mark.parametrize(
    "chosen",
    [
        lambda train, tmp: [],
        lambda train, tmp: [callbacks.BatchSizeScheduler(train, two_phases())],
        pytest.param(
            lambda train, tmp: [MAKE[name](train, tmp) for name in RIGHT_AFTER_A_BACKUP],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["none", "plan", "others"],
)
def test_a_run_restored_from_a_backup_equals_an_uninterrupted_one(chosen, tmp_path):
    def fit(*more):
        one, train = model(), pipeline()
        one.fit(train, epochs=3, verbose=0, callbacks=[*chosen(train, tmp_path), *more])
        return one.get_weights()

    alone = fit()
    with pytest.raises(KeyboardInterrupt):
        fit(keras.callbacks.BackupAndRestore(tmp_path / "backup"), Killed())
    resumed = fit(keras.callbacks.BackupAndRestore(tmp_path / "backup"))
    for ours, expected in zip(resumed, alone, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("name", ["AdaScale", "AdaptiveBatchSize", "AutoWU", "BatchSizeScheduler"])
def test_a_plan_with_another_momentum_than_the_optimizers(name):
    train, flat = pipeline(), Plan([Phase(0, 3, 8, 0.05, 0.9)], N)
    steered = auto_wu_plan(num_examples=N, batch_size=8, momentum=0.9, epochs=6)
    ours = {
        "AdaScale": lambda: callbacks.AdaScale(train, learning_rate=flat),
        "AdaptiveBatchSize": lambda: callbacks.AdaptiveBatchSize(train, plan=flat),
        "AutoWU": lambda: callbacks.AutoWU(train, steered),
        "BatchSizeScheduler": lambda: callbacks.BatchSizeScheduler(train, flat),
    }[name]()
    message = "momentum: expected the plan's 0.9, received an optimizer with 0.0"
    assert refused(train, ours) == message
