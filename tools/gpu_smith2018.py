"""Part of gpu_report.py: trains the four arms of smith2018:gpu_cifar10 with lbkeras' `fit`."""

import json
import time

import gpu_training
from gpu_processes import Child, wait

ARMS = ("original", "increase_batch", "increased_learning_rate", "increased_momentum")
PLANNED_EPOCHS = 80  # whose programs are all compiled in advance
FEWER_EPOCHS = (60, 50, 40, 30, 20, 10)  # if there is not enough time
SHARE = 0.8  # of the time that is left, for FEWER_EPOCHS
SHARE_OF_PLANNED = 1.25  # for PLANNED_EPOCHS: rather cut off the last arm than shorten all
SECONDS_TO_START = 30
SECONDS_TO_COMPILE = 120  # for the first epoch of a plan whose programs are not in the cache
SECONDS_TO_END = 4


def settings_of(arm: str, epochs: int, tiny: bool) -> dict:
    """Returns the config's sections for an arm, with another number of epochs."""
    from configs.papers import smith2018
    from lbkeras import config
    from lbkeras.runs.experiment import arm_settings

    settings = arm_settings(config.complete(smith2018.get_config("gpu_cifar10")), arm)
    plan = settings["plan"]
    plan["boundaries"] = [each * epochs // plan["epochs"] for each in plan["boundaries"]]
    plan["epochs"] = epochs
    if tiny:
        plan |= {"batch_size": 2, "max_batch_size": 24, "factor": 2.0, "boundaries": [epochs - 1]}
        if plan.get("increased_learning_rate"):
            plan["increased_learning_rate"] = 0.2
        settings["data"]["num_examples"] = 32
    return settings


def plan_of(arm: str, epochs: int, tiny: bool):
    from lbkeras.runs.experiment import make_plan

    return make_plan(settings_of(arm, epochs, tiny))


def programs(epochs: int, tiny: bool) -> list[dict]:
    """Returns a task for each batch size of each arm: its first epoch with that size."""
    tasks = []
    for arm in ARMS:
        plan, sizes = plan_of(arm, epochs, tiny), set()
        for phase in plan.phases:
            if phase.batch_size not in sizes:
                sizes.add(phase.batch_size)
                task = {"what": "arm", "arm": arm, "epochs": epochs, "only": phase.first_epoch}
                tasks.append(task | {"batch": phase.batch_size})
    return tasks


def run_arm(task: dict, arguments) -> dict:
    """Trains an arm, or only its epoch `task["only"]`, which puts its programs into the cache."""
    import keras

    from lbkeras import callbacks
    from lbkeras.data import Pipeline
    from lbkeras.data.augmentation import random_crop_flip
    from lbkeras.runs.history_writer import HistoryWriter

    settings = settings_of(task["arm"], task["epochs"], arguments.tiny)
    plan, first = plan_of(task["arm"], task["epochs"], arguments.tiny), task.get("only")
    data = [gpu_training.cifar10(arguments.data, arguments.tiny, s) for s in ("train", "test")]
    seed = task.get("seed", 0)
    train = Pipeline(
        data[0], plan.batch_size(first or 0), augment=random_crop_flip(gpu_training.PADDING),
        seed=seed,
    )  # fmt: skip
    test = Pipeline(data[1], min(1000, len(data[1][1])), shuffle=False)
    model = gpu_training.wide_resnet(arguments.tiny, seed)
    optimizer = {k: v for k, v in settings["optimizer"].items() if k != "name"}
    model.compile(
        keras.optimizers.SGD(
            plan.learning_rate_schedule(), momentum=plan.phases[0].momentum, **optimizer
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    scheduler = callbacks.BatchSizeScheduler(train, plan, verbose=1)
    begin = time.perf_counter()
    if first is not None:
        gpu_training.compile_only(
            model, train, task["batch"], [scheduler], initial_epoch=first, validation_data=test
        )
        return {"first epoch, s": round(time.perf_counter() - begin, 1)}
    statistics = callbacks.TrainingStatistics(train)
    every = 1 if arguments.tiny else 5
    model.fit(
        train,
        epochs=plan.epochs,
        validation_data=test,
        validation_freq=every,
        verbose=0,
        callbacks=[scheduler, callbacks.StopOnNaN(), statistics, HistoryWriter(task["history"])],
    )
    return {
        "updates": int(model.optimizer.iterations),
        "updates of the plan": plan.updates(),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def smith2018(report, arguments):
    """Trains each arm in a process, and reports what their histories have when time is up."""
    epochs = _epochs(report, arguments)
    report.note("smith2018", "epochs", epochs)
    children = {}
    for arm in ARMS:
        history = report.path.parent / f"history_{arm}.jsonl"
        history.unlink(missing_ok=True)
        task = {"what": "arm", "arm": arm, "epochs": epochs, "seed": arguments.first_seed}
        task["history"] = str(history.resolve())
        children[arm] = Child(task, report.scratch, arguments)
        report.children.append(children[arm])
    plans = {arm: plan_of(arm, epochs, arguments.tiny) for arm in ARMS}
    last = [time.monotonic()]

    def look():
        if time.monotonic() - last[0] > 10:
            last[0] = time.monotonic()
            _keep(report, plans, children)

    wait(children.values(), report.seconds_left() - SECONDS_TO_END, look)
    for line in _keep(report, plans, children):
        report.say(f"smith2018: {line}")


def planned(arguments) -> int:
    """Returns the number of epochs whose programs are all compiled in advance."""
    return arguments.epochs or (3 if arguments.tiny else PLANNED_EPOCHS)


def _epochs(report, arguments) -> int:
    """Returns the planned number of epochs if they fit by the measured speeds, else fewer.

    The time of the arms one after another is an upper bound: side by side, the device never waits
    for one arm's host.
    """
    number, speeds = planned(arguments), report.speeds
    if not speeds or arguments.tiny:
        return number
    for epochs in (number, *(each for each in FEWER_EPOCHS if each < number)):
        cost = sum(
            phase.epochs * speeds[min(speeds, key=lambda each: abs(each - phase.batch_size))]
            for arm in ARMS
            for phase in plan_of(arm, epochs, False).phases
        )
        left = report.seconds_left() - SECONDS_TO_START - SECONDS_TO_END
        if epochs == report.compiled_epochs and cost <= SHARE_OF_PLANNED * left:
            break
        if epochs != report.compiled_epochs and cost <= SHARE * (left - SECONDS_TO_COMPILE):
            break
    report.note("smith2018", "seconds expected of all arms, one after another", round(cost, 1))
    return epochs


def _keep(report, plans, children) -> list[str]:
    """Adds the histories so far to the report."""
    lines = []
    for arm, child in children.items():
        rows = _rows(report.path.parent / f"history_{arm}.jsonl")
        accuracies = [
            [row["epoch"] + 1, row["val_accuracy"]] for row in rows if "val_accuracy" in row
        ]
        figure = {
            "epochs": len(rows),
            "of": plans[arm].epochs,
            "updates": rows[-1]["updates"] if rows else 0,
            "updates of the plan": sum(map(plans[arm].steps_per_epoch, range(len(rows)))),
            "updates of the whole plan": plans[arm].updates(),
            "test accuracy": accuracies[-1][1] if accuracies else None,
            "test accuracies": accuracies,
        }
        if not child.running():
            figure["ended"] = child.result()
        report.keep("smith2018", arm, figure)
        shown = {key: value for key, value in figure.items() if key != "test accuracies"}
        lines.append(f"{arm}: {shown}")
    return lines


def _rows(path) -> list[dict]:
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
