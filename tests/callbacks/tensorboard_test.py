import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from lbkeras.callbacks import BatchSizeScheduler, TensorBoardScalars, TrainingStatistics
from lbkeras.data import Pipeline


def scalars(directory):
    """{tag: [(step, value), ...]} of a run's event files."""
    events = EventAccumulator(str(directory))
    events.Reload()
    return events, {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def fit(model, train, directory, epochs=3, initial_epoch=0, settings=None):
    callbacks = [
        BatchSizeScheduler(train, lambda epoch, size: (128, 256, 512)[epoch]),
        TrainingStatistics(train),
        TensorBoardScalars(directory, settings),
    ]
    x, y = (part[:300] for part in train._source)
    return model.fit(
        train,
        epochs=epochs,
        initial_epoch=initial_epoch,
        verbose=0,
        validation_data=(x, y),
        callbacks=callbacks,
    )


def test_tags_steps_and_values(compiled, digits, tmp_path):
    settings = {"model.depth": 16, "optimizer.name": "SGD", "nesterov": False, "rate": 0.1}
    history = fit(compiled(), Pipeline(digits, 128), tmp_path, settings=settings).history
    updates = history["updates"]
    assert updates == [11, 16, 18]
    train_events, train = scalars(tmp_path / "train")
    _, validation = scalars(tmp_path / "validation")
    assert set(train) == {name for name in history if not name.startswith("val_")}
    assert set(validation) == {"loss", "accuracy"}
    for name, values in history.items():
        received = validation[name[4:]] if name.startswith("val_") else train[name]
        assert [step for step, _ in received] == updates
        assert [value for _, value in received] == pytest.approx(values)

    tag = "_hparams_/session_start_info"
    content = train_events.SummaryMetadata(tag).plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert set(start.hparams) == set(settings)
    assert start.hparams["model.depth"].number_value == 16
    assert start.hparams["optimizer.name"].string_value == "SGD"
    assert start.hparams["nesterov"].bool_value is False


def test_a_resumed_run_takes_back_what_came_after_its_checkpoint(compiled, digits, tmp_path):
    """Three epochs, of which the last is lost and run again from the updates after the second."""
    model, train = compiled(), Pipeline(digits, 128)
    fit(model, train, tmp_path)
    model.optimizer.iterations.assign(16)  # as a restored checkpoint does
    fit(model, train, tmp_path, initial_epoch=2)
    for run in ("train", "validation"):
        _, values = scalars(tmp_path / run)
        assert [step for step, _ in values["loss"]] == [11, 16, 18]
