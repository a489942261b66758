"""A user's program for mypy: valid uses, and in `refused` uses that mypy must report.

Each line of `refused` ignores its error by code; if there is no such error, mypy reports the unused
ignore (warn_unused_ignores).
"""

from pathlib import Path
from typing import assert_type

import numpy as np

import lbkeras
from lbkeras import planning
from lbkeras.callbacks import AutoWU, BatchSizeScheduler, MicroBatches, StopOnSignal
from lbkeras.data import Pipeline
from lbkeras.planning import Plan, noise_scale_plan


def plans() -> Plan:
    plan = noise_scale_plan(
        strategy="increase_batch",
        epochs=15,
        boundaries=(5, 10),
        factor=3,
        learning_rate=0.02,
        momentum=0.9,
        batch_size=16,
        num_examples=1437,
    )
    assert_type(plan, Plan)
    assert_type(plan.updates(), int)
    assert_type(plan.learning_rate(2.5), float)
    assert_type(planning.noise_scale(0.1, 0.9, 128, 50_000), float)
    assert_type(lbkeras.planning.Plan, type[Plan])
    return plan


def trains(plan: Plan) -> None:
    train = Pipeline((np.zeros((20, 2)), np.zeros(20)), batch_size=4)
    assert_type(lbkeras.data.load("digits", batch_size=16), Pipeline)
    assert_type(train.num_examples, int)
    train.batch_size = 8
    BatchSizeScheduler(train, plan)
    BatchSizeScheduler(train, lambda epoch, batch_size: 2 * batch_size, verbose=1)
    MicroBatches(train, micro_batch_size=2)
    checkpoint = lbkeras.callbacks.Checkpoint("runs/first", train, minutes=5)
    StopOnSignal(checkpoint)
    lbkeras.optimizers.LARS(plan.learning_rate_schedule(), momentum=0.9, clipnorm=1.0)
    model = lbkeras.models.wide_resnet(16, 4, input_shape=(32, 32, 3), num_classes=10)
    lbkeras.layers.with_ghost_batch_normalization(model, ghost_batch_size=32)
    assert_type(lbkeras.layers.recompute_statistics(model, train), int)
    assert_type(lbkeras.__version__, str)


def compares(plan: Plan, train: Pipeline) -> None:
    def make_model() -> object:
        return lbkeras.models.mlp((2,), 2)

    advice = lbkeras.advise(make_model, train, epochs=5)
    assert_type(advice.plan, Plan)
    result = lbkeras.compare(
        make_model, train, train, arms={"own": plan, "advised": advice.plan}, workdir="runs/mine"
    )
    assert_type(result.workdir, Path)


def refused(plan: Plan, train: Pipeline) -> None:
    plan.updates = 3  # type: ignore[method-assign, assignment]
    plan.epoch  # type: ignore[attr-defined]  # noqa: B018
    planning.noise_scale("0.1", 0.9, 128, 50_000)  # type: ignore[arg-type]
    planning.no_such_plan()  # type: ignore[attr-defined]
    noise_scale_plan(epochs=3)  # type: ignore[call-arg]
    BatchSizeScheduler((np.zeros(4), np.zeros(4)), plan)  # type: ignore[arg-type]
    BatchSizeScheduler(train, 64)  # type: ignore[arg-type]
    AutoWU(train)  # type: ignore[call-arg]
    lbkeras.data.load("digits", batchsize=16)  # type: ignore[call-arg]
    lbkeras.optimizers.LARS(0.1, momentum="0.9")  # type: ignore[arg-type]
    lbkeras.models.small_cnn((8, 8, 1), num_classes="10")  # type: ignore[arg-type]
    lbkeras.advise(make_model=None, train=train)  # type: ignore[arg-type]
    lbkeras.compare(dict, train, train, arms=[plan], workdir="a")  # type: ignore[arg-type]
    updates: str = plan.updates()  # type: ignore[assignment]
    print(updates)
