"""Checks the logs of the Keras callbacks of Weights & Biases and MLflow, offline, with ours.

It runs one `fit` under a plan whose batch grows and one under AdaptiveBatchSize, each stopped and
resumed. Both trackers must log the batch size, learning rate and updates of each epoch as in the
history. Needs wandb and mlflow; tools/check_release.sh installs them into a separate environment.
"""

import json
import os
import struct
import sys
import tempfile
from pathlib import Path

NAMES = ("batch_size", "updates", "examples_seen", "momentum", "loss", "val_loss")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        # Set before the trackers are imported, so that nothing leaves this machine.
        os.environ |= {
            "WANDB_MODE": "offline",
            "WANDB_SILENT": "true",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        failed = 0
        for name, compiled, callbacks, epochs in cases():
            for tracker in (wandb_rows, mlflow_callback_rows, mlflow_autolog_rows):
                history, rows = tracker(name, compiled, callbacks, epochs)
                wrong = compared(history, rows, tracker is wandb_rows)
                failed += bool(wrong)
                title = f"{tracker.__name__.removesuffix('_rows')}, {name}"
                print(f"{title}: {'; '.join(wrong) if wrong else f'{epochs} epochs as logged'}")
        print(f"{failed} of 6 failed" if failed else "6 of 6 passed")
    return int(failed > 0)


def cases():
    """Yields the name, functions that make the optimizer and the callbacks, and the epochs."""
    import keras

    import lbkeras

    plan = lbkeras.planning.noise_scale_plan(
        strategy="increase_batch", epochs=6, boundaries=(2, 4), factor=3, learning_rate=0.02,
        momentum=0.9, batch_size=16, num_examples=1437,
    )  # fmt: skip

    def with_plan():
        return keras.optimizers.SGD(plan.learning_rate_schedule(), momentum=0.9)

    yield "a plan", with_plan, lambda train: [lbkeras.callbacks.BatchSizeScheduler(train, plan)], 6
    yield (
        "AdaptiveBatchSize",
        lambda: keras.optimizers.SGD(0.02, momentum=0.9),
        lambda train: [lbkeras.callbacks.AdaptiveBatchSize(train)],
        6,
    )


def fit(compiled, make_callbacks, epochs, make_last=list):
    """Returns the history of a `fit` that stops halfway and resumes, with the tracker's callback.

    The tracker's callback is the last one.
    """
    import keras

    import lbkeras

    history = {}
    with tempfile.TemporaryDirectory() as folder:
        for end in (epochs // 2, epochs):
            keras.utils.set_random_seed(0)
            train = lbkeras.data.load("digits", split="train", batch_size=16)
            test = lbkeras.data.load("digits", split="test", batch_size=360)
            model = lbkeras.models.small_cnn(input_shape=(8, 8, 1), num_classes=10)
            model.compile(
                compiled(),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
            )
            callbacks = [*make_callbacks(train), lbkeras.callbacks.TrainingStatistics(train)]
            callbacks += make_last()
            checkpoint = lbkeras.callbacks.Checkpoint(folder, train, callbacks)
            part = model.fit(
                train,
                initial_epoch=checkpoint.restore(model),
                epochs=end,
                validation_data=test,
                verbose=0,
                callbacks=[*callbacks, checkpoint],
            ).history
            for name, values in part.items():
                history.setdefault(name, []).extend(values)
    return history


def wandb_rows(name, compiled, callbacks, epochs):
    import wandb
    from wandb.integration.keras import WandbMetricsLogger
    from wandb.proto import wandb_internal_pb2

    with wandb.init(project="lbkeras", name=name) as run:
        history = fit(compiled, callbacks, epochs, lambda: [WandbMetricsLogger()])
        (file,) = Path(run.dir).parent.glob("*.wandb")
    wandb.teardown()  # waits until the file is complete
    rows = []
    for data in records_of(file.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            values = {
                (item.key or "/".join(item.nested_key)): json.loads(item.value_json)
                for item in record.history.item
            }
            rows.append({key.removeprefix("epoch/"): value for key, value in values.items()})
    return history, rows


def records_of(data: bytes):
    """Yields the records of an offline run's file: LevelDB's log format after a 7-byte header."""
    place, record = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:  # the rest of a block, too short for a record's header
            place += left
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)  # after the checksum
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            yield record
            record = b""


def mlflow_callback_rows(name, compiled, callbacks, epochs):
    import mlflow
    import mlflow.keras

    with mlflow.start_run(run_name=name) as run:
        history = fit(compiled, callbacks, epochs, lambda: [mlflow.keras.MlflowCallback()])
    return history, mlflow_rows([run.info.run_id], epochs)


def mlflow_autolog_rows(name, compiled, callbacks, epochs):
    """Uses a run for each `fit`, as autolog's parameter `batch_size` cannot change in a run."""
    import mlflow
    import mlflow.keras

    runs = []

    def next_run():
        mlflow.end_run()
        runs.append(mlflow.start_run(run_name=f"{name}, {len(runs)}").info.run_id)
        return []

    mlflow.keras.autolog(log_models=False)
    try:
        history = fit(compiled, callbacks, epochs, next_run)
    finally:
        mlflow.end_run()
        mlflow.keras.autolog(disable=True)
    return history, mlflow_rows(runs, epochs)


def mlflow_rows(runs, epochs):
    import mlflow

    mlflow.flush_async_logging()
    client = mlflow.MlflowClient()
    rows = [{} for _ in range(epochs)]
    for run in runs:
        for key in client.get_run(run).data.metrics:
            for metric in client.get_metric_history(run, key):
                rows[metric.step][key] = metric.value
    return rows


def compared(history, rows, rate_of_next_update) -> list[str]:
    """Returns the differences between Keras' history and a tracker's log.

    WandbMetricsLogger reads the learning rate from the optimizer, which at the end of an epoch has
    that of the next update.
    """
    wrong = []
    epochs = len(history["loss"])
    if len(rows) != epochs:
        wrong.append(f"expected {epochs} rows, received {len(rows)}")
    for epoch, row in enumerate(rows):
        for name in (*NAMES, "learning_rate"):
            expected, found = history[name][epoch : epoch + 1], row.get(name)
            if name == "learning_rate" and rate_of_next_update:
                expected = history[name][epoch : epoch + 2]
            if found is None or min(abs(found - each) for each in expected) > 1e-6 * max(1, found):
                wrong.append(f"epoch {epoch}: {name}: expected {expected}, received {found}")
    if len(set(history["batch_size"])) < 2:
        wrong.append("the batch size never changed")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
