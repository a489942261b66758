"""Text as windows of characters: the next characters, the parts, a language model's training."""

import keras
import numpy as np
import pytest

from lbkeras import data
from lbkeras.data.text import load_text
from lbkeras.errors import UserError
from lbkeras.runs import build

TEXT = "".join(
    f"{number} green bottles, hanging on the wall;\nand if one should fall: {number - 1} — là!\n"
    for number in range(99, 59, -1)
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bottles.txt").write_text(TEXT, encoding="utf-8")
    return str(tmp_path)


def _part(split):
    edges = [len(TEXT) * per_cent // 100 for per_cent in (0, 90, 95, 100)]
    place = ["train", "validation", "test"].index(split)
    return TEXT[edges[place] : edges[place + 1]]


@pytest.mark.parametrize("window", [1, 7, 64])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_windows_are_the_part_and_labels_are_its_next_characters(folder, split, window):
    tokens, following = load_text(f"bottles.txt:{window}", split, folder)
    assert tokens.dtype == following.dtype == np.int32
    assert tokens.shape == following.shape and tokens.shape[1] == window
    letters = sorted(set(TEXT))
    part = _part(split)
    read = "".join(letters[token] for token in tokens.ravel())
    assert read == part[: len(read)]
    assert "".join(letters[token] for token in following.ravel()) == part[1 : len(read) + 1]
    # The rest is too short for another window and the character after it.
    assert 0 <= len(part) - 1 - len(read) < window


def test_the_window_is_64_characters_unless_the_name_says_otherwise(folder):
    assert load_text("bottles.txt", "train", folder)[0].shape[1] == 64


def test_the_vocabulary_is_the_whole_files(tmp_path):
    (tmp_path / "late.txt").write_text("b" * 190 + "ca" * 5)
    assert set(load_text("late.txt:4", "train", tmp_path)[0].ravel()) == {1}
    assert set(load_text("late.txt:4", "test", tmp_path)[0].ravel()) == {0, 2}


def test_pipelines(folder):
    train = data.load("bottles.txt:16", "train", batch_size=32, data_dir=folder, seed=5)
    assert train.shuffle and train.num_examples == (len(_part("train")) - 1) // 16
    x, y = next(iter(train.dataset()))
    assert x.shape == y.shape == (32, 16) and x.dtype == y.dtype == "int32"
    np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    plain = load_text("bottles.txt:16", "train", folder)[0]
    assert not np.array_equal(x, plain[:32])
    assert {row.tobytes() for row in x.numpy()} <= {row.tobytes() for row in plain}
    assert train.label_range()[1] == len(set(_part("train"))) - 1 == len(set(TEXT)) - 1
    test = data.load("bottles.txt:16", "test", batch_size=5, data_dir=folder)
    assert not test.shuffle


def test_description(folder):
    assert data.describe("bottles.txt:16", folder) == (
        f"bottles.txt, {len(TEXT):,} characters, {len(set(TEXT))} different ones; by position "
        "90 % train, 5 % validation, 5 % test; windows of 16 characters, each predicted from those "
        "before it"
    )


def _settings(folder, **model):
    num_examples = data.load("bottles.txt:16", data_dir=folder).num_examples
    return dict(
        data=dict(
            name="bottles.txt:16",
            num_examples=num_examples,
            train_split="train",
            test_split="test",
            test_batch_size=1000,
            augmentation="default",
        ),
        model=dict(name="lstm_language_model", embedding=8, units=16, layers=1) | model,
        optimizer=dict(name="Adam"),
    )


@pytest.mark.release  # the gate: the other tests here, and lstm_language_model_test.py
def test_a_language_model_learns_it_with_the_accuracy_of_each_character(folder):
    keras.utils.set_random_seed(0)
    settings = _settings(folder, vocabulary_size=len(set(TEXT)))
    train, test = build.make_pipelines(settings, 16, 0, folder)
    model = build.make_model(settings, train)
    assert model.input_shape == (None, 16)
    model.compile(
        keras.optimizers.Adam(0.02),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(train, epochs=6, verbose=0)
    loss, accuracy = model.evaluate(test, verbose=0)
    tokens, following = load_text("bottles.txt:16", "test", folder)
    logits = model.predict(tokens, verbose=0).astype(np.float64)
    assert accuracy == pytest.approx((logits.argmax(-1) == following).mean(), abs=1e-6)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.take_along_axis(logs, following[..., None], -1).mean()
    assert loss == pytest.approx(expected, rel=1e-4)
    most_frequent = max(TEXT.count(letter) for letter in set(TEXT)) / len(TEXT)
    assert accuracy > 2 * most_frequent


def test_a_vocabulary_that_is_too_small(folder):
    settings = _settings(folder, vocabulary_size=len(set(TEXT)) - 1)
    train, _ = build.make_pipelines(settings, 16, 0, folder)
    with pytest.raises(UserError, match=f"expected at least {len(set(TEXT))} "):
        build.make_model(settings, train)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("wall.txt", "train", "data set 'wall.txt' is not on disk: searched '{folder}'; name its "
         "folder with data_dir (No such file or directory)"),
        ("bottles.txt", "train[:80%]", "bottles.txt: split: expected one of 'train', 'validation', "
         "'test', received 'train[:80%]'"),
        ("bottles.txt:0", "train", "data set 'bottles.txt:0': expected a window of at least 1 "
         "character, received 0"),
        ("bottles.txt:500", "test", "data set 'bottles.txt:500': expected at least 501 characters "
         "in the part 'test' for a window of 500, received {test} of {all}"),
        ("empty.txt", "train", "data set '{folder}/empty.txt': expected text, received an empty "
         "file"),
        ("bytes.txt", "train", "data set '{folder}/bytes.txt': expected UTF-8 text, received other "
         "bytes"),
    ],
)  # fmt: skip
def test_message(folder, tmp_path, name, split, message):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(UserError) as error:
        data.load(name, split, data_dir=folder)
    test = len(_part("test"))
    assert str(error.value) == message.format(folder=folder, test=test, all=f"{len(TEXT):,}")
