"""A dry run finds a wrong schedule, checkpoint or order of the data."""

import keras
import numpy as np
import pytest

from lbkeras.advice.dry_run_checks import check_checkpoint, check_order, check_schedule
from lbkeras.callbacks.batch_size_scheduler import BatchSizeScheduler
from lbkeras.callbacks.checkpoint import Checkpoint
from lbkeras.data.pipeline import Pipeline
from lbkeras.errors import UserError
from lbkeras.planning.recipes import warmup_steps_plan
from tests.data.examples import Items

PLAN = warmup_steps_plan(
    num_examples=60, epochs=6, boundaries=(4,), factor=10.0, base_learning_rate=0.1,
    base_batch_size=10, batch_size=20, momentum=0.9, warmup_epochs=2.0,
)  # fmt: skip


@pytest.fixture
def train():
    return Pipeline((np.arange(60.0)[:, None], np.arange(60)), batch_size=20)


@pytest.fixture
def model():
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    made.compile(keras.optimizers.SGD(PLAN.learning_rate_schedule(), momentum=0.9), "mse")
    made.optimizer.build(made.trainable_variables)
    return made


def _scheduler(model, train, plan=PLAN):
    scheduler = BatchSizeScheduler(train, plan)
    scheduler.set_model(model)
    return scheduler


def test_a_schedule_matches_the_plan_at_both_ends_of_a_phase(model, train):
    for phase in PLAN.phases:
        check_schedule(model, PLAN, phase, _scheduler(model, train), rates=True)
        assert int(model.optimizer.iterations) == PLAN.first_update(phase.first_epoch)


def test_another_schedule_is_an_error(model, train):
    other = warmup_steps_plan(
        num_examples=60, epochs=6, boundaries=(4,), factor=5.0, base_learning_rate=0.1,
        base_batch_size=10, batch_size=20, momentum=0.9, warmup_epochs=2.0,
    )  # fmt: skip
    with pytest.raises(UserError, match="learning rate: expected the plan's 0.04 at update 17"):
        check_schedule(model, other, other.phases[-1], _scheduler(model, train, other), rates=True)


class Forgetful(Checkpoint):
    """Does not restore one weight."""

    def restore(self, model, report=print):
        kept = model.layers[0].kernel.numpy()
        place = super().restore(model, report)
        model.layers[0].kernel.assign(kept)
        return place


class InAnotherPlace(Checkpoint):
    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self.pipeline.start_step += 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Checkpoint, None),
        (Forgetful, "checkpoint: expected .*kernel bit for bit"),
        (InAnotherPlace, r"resume at epoch, step and batch size \(3, 1, 20\), received \(3, 2, 20"),
    ],
)
def test_a_checkpoint_comes_back_bit_for_bit(kind, message, model, train, tmp_path):
    model.train_on_batch(np.ones((4, 1)), np.ones((4, 2)))
    weights = [variable.numpy() for variable in model.variables]
    writing, resumed = Checkpoint(tmp_path, train), kind(tmp_path, train.copy())
    if message:
        with pytest.raises(UserError, match=message):
            check_checkpoint(model, writing, resumed, 3, 1)
        return
    assert check_checkpoint(model, writing, resumed, 3, 1) > 1000
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(weights, model.variables, strict=True))
    assert list(tmp_path.iterdir()) == []


def by_shards():
    return Pipeline(Items(np.arange(60.0)[:, None], np.arange(60)), 20, shuffle="shards")


@pytest.mark.parametrize("shards", [False, True])
def test_an_order_is_the_same_when_resumed_in_the_middle(train, shards):
    train = by_shards() if shards else train
    batches = train.copy(batch_size=5).dataset(2, 4)
    check_order(train, batches, 2, 24)
    with pytest.raises(UserError, match="at position 23 of epoch 3 again when read alone"):
        check_order(train, batches, 2, 23)
