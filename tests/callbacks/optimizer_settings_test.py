import keras
import numpy as np
import pytest

from lbkeras.callbacks import AdaptiveBatchSize, BatchSizeScheduler, optimizer_settings
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.keras_internals.optimizer import learning_rate_of
from lbkeras.planning import Phase, Plan
from lbkeras.schedules import SteeredLearningRate, steps


@pytest.mark.parametrize(
    "optimizer, momentum",
    [
        (lambda: keras.optimizers.SGD(0.1, 0.9), 0.9),
        (lambda: keras.optimizers.SGD(0.1), 0.0),
        (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, 0.8)), 0.8),
        (lambda: keras.optimizers.Adam(0.1), None),
    ],
)
def test_momentum(optimizer, momentum):
    optimizer = optimizer()
    assert optimizer_settings.get_momentum(optimizer) == momentum
    if momentum:
        optimizer_settings.set_momentum(optimizer, 0.5)
        assert optimizer_settings.get_momentum(optimizer) == 0.5


def test_last_learning_rate():
    assert optimizer_settings.last_learning_rate(keras.optimizers.Adam(0.1)) == 0.1  # not 0.1f
    plan = Plan([Phase(0, 1, 10, 0.3, 0.9), Phase(1, 1, 20, 0.7, 0.9)], 40)
    optimizer = keras.optimizers.SGD(plan.learning_rate_schedule(), 0.9)
    rates = []
    for updates in (0, 1, 4, 5):
        optimizer.iterations.assign(updates)
        rates.append(optimizer_settings.last_learning_rate(optimizer))
    assert rates == [0.3, 0.3, 0.3, 0.7]
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.25))
    assert optimizer_settings.last_learning_rate(scaled) == 0.25


def test_trust_ratios_are_named_by_layer_or_by_variable():
    class Optimizer:
        def trust_ratios(self):
            return {"lstm/kernel": 1.0, "lstm/recurrent_kernel": 2.0, "model/head/kernel": 3.0}

    assert optimizer_settings.get_trust_ratios(Optimizer()) == {
        "lstm/kernel": 1.0,
        "lstm/recurrent_kernel": 2.0,
        "model/head": 3.0,
    }
    assert optimizer_settings.get_trust_ratios(keras.optimizers.SGD(0.1)) == {}


class Owner(keras.callbacks.Callback):
    """Halves the learning rate per epoch."""

    def __init__(self, pipeline):
        super().__init__()
        self.pipeline = pipeline
        self.seen = []

    def set_model(self, model):
        super().set_model(model)
        self.rate = optimizer_settings.install_learning_rate(model, self)

    def on_train_begin(self, logs=None):
        optimizer_settings.check_ownership(self.model, self.rate)

    def on_epoch_begin(self, epoch, logs=None):
        first = int(self.model.optimizer.iterations)
        curve = steps([0.5**epoch], [], 1)
        self.rate.set_curve(curve, first, epoch, self.pipeline.steps_per_epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(optimizer_settings.last_learning_rate(self.model.optimizer))

    def on_train_end(self, logs=None):
        optimizer_settings.restore_learning_rate(self.model, self.rate)


class Other(Owner):
    pass


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.release)])
def test_a_callback_takes_the_learning_rate_and_gives_it_back(compiled, digits, jit_compile):
    model = compiled(keras.optimizers.SGD(3.0), jit_compile=jit_compile)
    train = Pipeline(digits, 256)
    number = model.optimizer.learning_rate
    variables = list(model.optimizer.variables)
    owner = Owner(train)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: (256, 512, 256)[epoch])
    model.fit(train, epochs=3, verbose=0, callbacks=[scheduler, owner])
    assert owner.seen == [1.0, 0.5, 0.25]
    assert model.optimizer.learning_rate is number and float(number) == 3
    assert [id(v) for v in model.optimizer.variables[: len(variables)]] == [
        id(v) for v in variables
    ]


def test_two_owners_are_refused_by_name(compiled, digits):
    model, train = compiled(keras.optimizers.SGD(3.0)), Pipeline(digits, 256)
    with pytest.raises(UserError) as raised:
        model.fit(train, verbose=0, callbacks=[Owner(train), Other(train)])
    assert str(raised.value) == (
        "learning_rate: Owner and Other cannot both set it; expected one of the two callbacks"
    )
    assert float(model.optimizer.learning_rate) == 3
    model.fit(train, verbose=0, callbacks=[Other(train)])


def test_an_owner_and_a_schedule_are_refused_by_name(compiled, digits):
    plan = Plan([Phase(0, 1, 256, 0.3, 0.9)], len(digits[0]))
    model = compiled(keras.optimizers.SGD(plan.learning_rate_schedule(), 0.9))
    train = Pipeline(digits, 256)
    with pytest.raises(UserError) as raised:
        model.fit(train, verbose=0, callbacks=[Owner(train)])
    assert str(raised.value) == (
        "learning_rate: Owner and the optimizer's EpochLearningRateSchedule cannot both set it; "
        "expected an optimizer with a number, such as SGD(learning_rate=0.1)"
    )


def test_an_interrupted_fit_does_not_block_the_next(compiled, digits):
    class Broken(Exception):
        pass

    def fail(batch, logs):
        raise Broken

    model, train = compiled(keras.optimizers.SGD(3.0)), Pipeline(digits, 256)
    number = model.optimizer.learning_rate
    with pytest.raises(Broken):
        stop = keras.callbacks.LambdaCallback(on_train_batch_end=fail)
        model.fit(train, verbose=0, callbacks=[Owner(train), stop])
    model.fit(train, verbose=0, callbacks=[Owner(train)])
    assert model.optimizer.learning_rate is number


class Breaks(keras.callbacks.Callback):
    """Ctrl-C in an epoch; Keras then calls no `on_train_end`."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def interrupted(model, train, callback, epoch=2):
    with pytest.raises(KeyboardInterrupt):
        model.fit(train, epochs=4, verbose=0, callbacks=[callback, Breaks(epoch)])


def test_after_ctrl_c_the_learning_rate_is_given_back_before_the_next_fit():
    x = np.random.default_rng(0).normal(size=(320, 4)).astype("float32")
    train, model = Pipeline((x, x[:, 0]), 8), keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    interrupted(model, train, AdaptiveBatchSize(train, scaling="linear"))
    assert isinstance(learning_rate_of(model.optimizer), SteeredLearningRate)
    model.fit(train, epochs=1, verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    model.optimizer.learning_rate = 0.02  # a number as before
    assert model.optimizer.variables[1] is learning_rate_of(model.optimizer)


def test_after_ctrl_c_the_momentum_is_given_back_before_the_next_fit():
    x = np.zeros((320, 4), "float32")
    train, model = Pipeline((x, x[:, 0]), 8), keras.Sequential([keras.layers.Dense(1)])
    plan = Plan([Phase(0, 1, 8, 0.1, 0.5), Phase(1, 3, 8, 0.1, 0.9)], 320)
    model.compile(keras.optimizers.SGD(plan.learning_rate_schedule(), momentum=0.5), "mse")
    interrupted(model, train, BatchSizeScheduler(train, plan))
    assert model.optimizer.momentum == 0.9
    model.fit(train, epochs=4, verbose=0, callbacks=[BatchSizeScheduler(train, plan)])
    assert model.optimizer.momentum == 0.5
