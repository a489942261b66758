import itertools
import re
import sys

import pytest

from lbkeras.callbacks import BatchSizeScheduler, ProgressBar, TrainingStatistics, progress_bar
from lbkeras.data import Pipeline

SIZES = (128, 512, 256)  # 11, 2 and 5 steps


@pytest.fixture(scope="module")
def model(compiled, digits):
    model = compiled()
    model.fit(*digits, batch_size=512, verbose=0, validation_data=digits)  # traced
    return model


def run(model, digits, **arguments):
    bar_arguments = {
        name: arguments.pop(name)
        for name in ("title", "seconds_between_lines")
        if name in arguments
    }
    train = Pipeline(digits, 128)
    callbacks = [
        BatchSizeScheduler(train, lambda epoch, size: SIZES[epoch]),
        TrainingStatistics(train),
        ProgressBar(train, **bar_arguments),
    ]
    model.fit(train, epochs=3, callbacks=callbacks, **arguments)


@pytest.fixture
def terminal(monkeypatch, capsys):
    """A function that runs `fit` where stdout says that it is a terminal, with every step drawn."""

    def shown(*arguments, columns=200, **named):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setattr(progress_bar, "_SECONDS_BETWEEN_DRAWINGS", -1.0)
        run(*arguments, **named)
        return capsys.readouterr().out

    return shown


@pytest.mark.parametrize("verbose", ["auto", 1, 2])
def test_one_line_an_epoch_where_there_is_no_terminal(model, digits, capsys, verbose):
    run(model, digits, verbose=verbose, validation_data=digits, title="digits")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for epoch, (line, size, steps) in enumerate(zip(lines, SIZES, (11, 2, 5), strict=True)):
        assert line.startswith(f"digits Epoch {epoch + 1}/3 {steps} steps ")
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert re.search(rf" {name} \d+\.\d{{4}} ", line), name
        assert f" batch_size {size} · learning_rate 0.1 · " in line
        assert re.search(r" [\d,]+ examples/s", line)
        assert line.count("batch_size") == line.count("learning_rate") == 1
        assert ("left" in line) == (epoch < 2)
        assert "\r" not in line


def test_the_total_of_each_epoch_on_a_terminal(model, digits, terminal):
    epochs = terminal(model, digits, verbose=1).split("\n")
    assert len(epochs) == 4 and epochs[3] == ""
    for epoch, (text, size, steps) in enumerate(zip(epochs, SIZES, (11, 2, 5), strict=False)):
        drawings = text.split("\r")[1:]
        counts = [f"{step}/{steps}" for step in range(1, steps + 1)]
        assert [re.search(r" (\d+/\d+) ", d.split("/3 ")[1]).group(1) for d in drawings[:-1]] == (
            counts
        )
        assert all(f"Epoch {epoch + 1}/3" in d and f"batch_size {size}" in d for d in drawings)
        assert drawings[steps - 1].count("━") == 24 and "─" not in drawings[steps - 1]
        assert f" {steps} steps " in drawings[-1]


def test_a_line_covers_the_one_before_it(model, digits, terminal):
    for text in terminal(model, digits, verbose=1).split("\n"):
        drawings = text.split("\r")[1:]
        for before, after in itertools.pairwise(drawings):
            assert len(after) >= len(before.rstrip())


def test_a_drawing_fits_a_narrow_terminal(model, digits, terminal):
    for text in terminal(model, digits, verbose=1, columns=60).split("\n"):
        drawings = text.split("\r")[1:]
        assert all(len(drawing) < 60 for drawing in drawings[:-1])


def test_no_bar_with_verbose_2_on_a_terminal(model, digits, terminal):
    out = terminal(model, digits, verbose=2)
    assert out.count("\n") == 3 and "━" not in out


def test_silent(model, digits, capsys):
    run(model, digits, verbose=0, validation_data=digits)
    assert capsys.readouterr().out == ""


def test_many_short_runs(model, digits, capsys):
    run(model, digits, verbose=1, seconds_between_lines=3600.0)
    assert capsys.readouterr().out == ""


def test_many_short_runs_on_a_terminal(model, digits, terminal):
    out = terminal(model, digits, verbose=1, seconds_between_lines=3600.0)
    assert "Epoch 3/3 5 steps" in out and "\n" not in out
