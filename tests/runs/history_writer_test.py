import json

import keras

from lbkeras.callbacks import BatchSizeScheduler, HistoryWriter, TrainingStatistics
from lbkeras.data import Pipeline
from lbkeras.metrics import COLUMNS


class ReadEachEpoch(keras.callbacks.Callback):
    """Reads what is on disk when the next epoch begins."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.lines = []

    def on_epoch_begin(self, epoch, logs=None):
        self.lines.append(len(self.path.read_text().splitlines()) if epoch else 0)


class AddMore(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        logs["sharpness"] = 1.5


def test_rows(compiled, digits, tmp_path):
    path = tmp_path / "history.jsonl"
    train = Pipeline(digits, 256)
    reader = ReadEachEpoch(path)
    callbacks = [
        BatchSizeScheduler(train, lambda epoch, size: 256 * (epoch + 1)),
        TrainingStatistics(train),
        AddMore(),
        HistoryWriter(path),
        reader,
    ]
    history = compiled().fit(
        train, epochs=3, verbose=0, validation_data=digits, callbacks=callbacks
    )
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert reader.lines == [0, 1, 2]
    for epoch, row in enumerate(rows):
        assert list(row) == ["epoch", *COLUMNS, "sharpness"]
        assert row.pop("epoch") == epoch
        assert row == {name: values[epoch] for name, values in history.history.items()}
    assert [row["batch_size"] for row in rows] == [256, 512, 768]
    assert all(isinstance(row[name], int) for row in rows for name in ("updates", "batch_size"))


def test_rows_are_added_to_the_file(compiled, digits, tmp_path):
    path = tmp_path / "history.jsonl"
    model, train = compiled(), Pipeline(digits, 512)
    model.fit(train, epochs=1, verbose=0, callbacks=[HistoryWriter(path)])
    model.fit(train, epochs=3, initial_epoch=1, verbose=0, callbacks=[HistoryWriter(path)])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert all(list(row) == ["epoch", "loss", "accuracy"] for row in rows)
