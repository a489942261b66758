import shutil

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from lbkeras.callbacks import (
    BatchSizeScheduler,
    Checkpoint,
    TensorBoardScalars,
    TrainingStatistics,
)
from lbkeras.data import Pipeline


def scalars(directory):
    """Returns {tag: [(step, value), ...]} from a run's event files."""
    events = EventAccumulator(str(directory))
    events.Reload()
    return events, {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


AGAINST_EXAMPLES = [
    *("loss", "accuracy", "val_loss", "val_accuracy"),
    *("batch_size", "learning_rate", "updates", "seconds"),
]


def fit(model, train, directory, epochs=3, settings=None, checkpoint=None):
    callbacks = [
        BatchSizeScheduler(train, lambda epoch, size: (128, 256, 512)[epoch]),
        TrainingStatistics(train),
        TensorBoardScalars(directory, settings),
    ]
    first_epoch = 0
    if checkpoint:
        callbacks.append(Checkpoint(checkpoint, train, callbacks))
        first_epoch = callbacks[-1].restore(model)
    x, y = (part[:300] for part in train._reader._source)
    return model.fit(
        train,
        epochs=epochs,
        initial_epoch=first_epoch,
        verbose=0,
        validation_data=(x, y),
        callbacks=callbacks,
    )


def test_tags_steps_and_values(compiled, digits, tmp_path):
    history = fit(compiled(), Pipeline(digits, 128), tmp_path).history
    updates = history["updates"]
    assert updates == [11, 16, 18]
    _, train = scalars(tmp_path / "train")
    _, validation = scalars(tmp_path / "validation")
    assert set(train) == {name for name in history if not name.startswith("val_")}
    assert set(validation) == {"loss", "accuracy"}
    for name, values in history.items():
        received = validation[name[4:]] if name.startswith("val_") else train[name]
        assert [step for step, _ in received] == updates
        assert [value for _, value in received] == pytest.approx(values)

    _, examples = scalars(tmp_path / "examples")
    assert set(examples) == {f"against_examples/{name}" for name in AGAINST_EXAMPLES}
    history["seconds"] = np.cumsum(history["seconds"])
    for name in AGAINST_EXAMPLES:
        received = examples[f"against_examples/{name}"]
        assert [step for step, _ in received] == history["examples_seen"] == [1408, 2688, 3712]
        assert [value for _, value in received] == pytest.approx(history[name])


def plugin_data(events, tag):
    content = events.SummaryMetadata(tag).plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def test_settings(compiled, digits, tmp_path):
    settings = {"model.depth": 16, "optimizer.name": "SGD", "nesterov": False, "rate": 0.1}
    settings |= {"decay": None, "six": "|"}
    folder = tmp_path / "original/seed_0/tensorboard"
    fit(compiled(), Pipeline(digits, 128), folder, epochs=1, settings=settings)
    events, _ = scalars(folder / "examples")
    start = plugin_data(events, "_hparams_/session_start_info").session_start_info
    assert start.group_name == "original/seed_0"
    assert set(start.hparams) == set(settings) - {"decay"}
    assert start.hparams["model.depth"].string_value == "16"
    assert start.hparams["rate"].number_value == 0.1
    assert start.hparams["optimizer.name"].string_value == "SGD"
    assert start.hparams["nesterov"].bool_value is False
    experiment = plugin_data(events, "_hparams_/experiment").experiment
    assert {info.name: info.differs for info in experiment.hparam_infos} == {
        name: name != "six" for name in settings
    }
    metrics = [(info.display_name, info.name.tag) for info in experiment.metric_infos]
    assert sorted(metrics[:2]) == [
        (f"val_{name}", f"against_examples/val_{name}") for name in ("accuracy", "loss")
    ]
    assert metrics[2:] == [(name, f"against_examples/{name}") for name in ("updates", "seconds")]
    (text,) = events.Tensors("config")[0].tensor_proto.string_val
    assert "| model.depth | 16 |\n" in text.decode() and "| six | ∣ |" in text.decode()


def test_a_resumed_run_removes_what_came_after_its_checkpoint(compiled, digits, tmp_path):
    """Of three epochs the last is lost and run again from the checkpoint of the second."""
    schedule = dict(checkpoint=tmp_path / "checkpoints", directory=tmp_path / "tensorboard")
    fit(compiled(), Pipeline(digits, 128), epochs=2, **schedule)
    for path in (tmp_path / "checkpoints").glob("*"):
        shutil.copy(path, tmp_path / path.name)
    fit(compiled(), Pipeline(digits, 128), **schedule)
    for path in (tmp_path / "checkpoints").glob("*"):
        path.unlink()
    for path in tmp_path.glob("*.npz"):
        path.rename(tmp_path / "checkpoints" / path.name)
    fit(compiled(), Pipeline(digits, 128), **schedule)
    for run, tag in (
        ("train", "loss"),
        ("validation", "loss"),
        ("examples", "against_examples/loss"),
    ):
        _, values = scalars(tmp_path / "tensorboard" / run)
        steps = [1408, 2688, 3712] if run == "examples" else [11, 16, 18]
        assert [step for step, _ in values[tag]] == steps
    seconds = [value for _, value in values["against_examples/seconds"]]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
