"""The files of checkpoints: which are kept, which is the newest, which are damaged or foreign."""

import shutil

import keras
import numpy as np
import pytest

from lbkeras.callbacks import BatchSizeScheduler, Checkpoint
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from tests.callbacks.checkpoint_state import with_state


@pytest.fixture(scope="module")
def saved(compiled, digits, tmp_path_factory):
    """Returns a folder with two checkpoints, the model, its pipeline, and each epoch's weights."""
    directory = tmp_path_factory.mktemp("checkpoints")
    model, train = compiled(), Pipeline(digits, 512)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: 512)
    checkpoint = Checkpoint(directory, train, [scheduler])
    weights = []

    class Remember(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weights.append(self.model.get_weights())

    model.fit(train, epochs=3, verbose=0, callbacks=[scheduler, checkpoint, Remember()])
    return directory, model, train, weights


def restored(saved, directory):
    """Returns the epoch to resume in, whether the weights are those of its start, and reports."""
    _, model, train, weights = saved
    for variable in model.variables:
        variable.assign(np.full(variable.shape, 7, variable.dtype))
    reports = []
    epoch = Checkpoint(directory, train).restore(model, report=reports.append)
    expected = weights[epoch - 1] if epoch else [np.full_like(w, 7) for w in weights[0]]
    same = all(map(np.array_equal, model.get_weights(), expected))
    return epoch, same, reports


def test_two_files_are_kept_and_no_temporary_ones(saved):
    names = sorted(path.name for path in saved[0].iterdir())
    assert names == ["update_000000004.npz", "update_000000006.npz"]
    assert restored(saved, saved[0]) == (3, True, [])


def test_nothing_saved(saved, tmp_path):
    assert restored(saved, tmp_path / "absent") == (0, True, [])


def truncated(content):
    return content[: len(content) // 2]


def without_the_last_byte(content):
    return content[:-1]


def flipped(content):
    """Flips a kilobyte in the middle, so that it includes more than unused names and lengths."""
    middle = len(content) // 2
    flipped = bytes(byte ^ 1 for byte in content[middle : middle + 1024])
    return content[:middle] + flipped + content[middle + 1024 :]


def empty(content):
    return b""


def other(content):
    return b"not a checkpoint" * 100


DAMAGES = (truncated, without_the_last_byte, flipped, empty, other)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_file(saved, tmp_path, damage):
    directory = tmp_path / "damaged"
    shutil.copytree(saved[0], directory)
    older, newest = sorted(directory.iterdir())
    newest.write_bytes(damage(newest.read_bytes()))
    epoch, same, reports = restored(saved, directory)
    assert (epoch, same, len(reports)) == (2, True, 1)
    assert str(newest) in reports[0] and "damaged" in reports[0] and "\n" not in reports[0]
    assert not newest.exists() and newest.with_name(f"{newest.name}.damaged").exists()

    older.write_bytes(damage(older.read_bytes()))
    epoch, same, reports = restored(saved, directory)
    assert (epoch, same, len(reports)) == (0, True, 1)


def test_any_flipped_byte_is_found_or_harmless(saved, tmp_path):
    """Flips bytes at 200 places and throughout the zip file's directory at the end."""
    directory = tmp_path / "damaged"
    shutil.copytree(saved[0], directory)
    newest = sorted(directory.iterdir())[1]
    content = newest.read_bytes()
    generator = np.random.default_rng(0)
    end = content.index(b"PK\x01\x02")
    places = np.concatenate([generator.integers(0, end, 200), np.arange(end, len(content), 3)])
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << generator.integers(8)
        newest.write_bytes(damaged)
        epoch, same, reports = restored(saved, directory)
        assert same and epoch == 3 - len(reports), (place, reports)


def test_a_checkpoint_of_another_model_or_optimizer_is_refused(saved, compiled, digits):
    checkpoint = Checkpoint(saved[0], Pipeline(digits, 512))
    for model in (compiled(hidden=4), compiled(keras.optimizers.Adam())):
        with pytest.raises(UserError, match="expected one of this model and optimizer.*received"):
            checkpoint.restore(model)


def test_a_newer_format_is_refused_and_one_without_restored(saved, tmp_path):
    directory = tmp_path / "other"
    shutil.copytree(saved[0], directory)
    newest = sorted(directory.iterdir())[-1]
    assert with_state(newest, lambda state: state.pop("format")).keys() >= {"epoch", "callbacks"}
    assert restored(saved, directory) == (3, True, [])
    with_state(newest, lambda state: state.update(format=3))
    with pytest.raises(UserError, match=rf"^{newest}: expected a format from 0 to 2, .*received 3"):
        restored(saved, directory)


def _fit_anew(compiled, digits, directory, batch_size):
    train = Pipeline((digits[0][:128], digits[1][:128]), batch_size)
    checkpoint = Checkpoint(directory, train)
    compiled().fit(train, epochs=1, callbacks=[checkpoint], verbose=0)


def test_a_new_fit_renames_the_files_of_an_earlier_one(compiled, digits, tmp_path):
    _fit_anew(compiled, digits, tmp_path, 32)  # 4 updates
    _fit_anew(compiled, digits, tmp_path, 64)  # 2 updates: the lower number is newer
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "update_000000002.npz", "update_000000004.npz.superseded",
    ]  # fmt: skip


def test_copies_are_ignored_and_the_highest_number_is_the_newest(saved, tmp_path):
    directory = shutil.copytree(saved[0], tmp_path / "c")
    (directory / "update_000000004.npz").rename(directory / "update_999999999.npz")
    shutil.copy(directory / "update_999999999.npz", directory / "update_best.npz")
    (directory / "update_000000006.npz").rename(directory / "update_1000000000.npz")
    assert restored(saved, directory) == (3, True, [])
