import re
import sys

import keras
import pytest

from lbkeras.callbacks import BatchSizeScheduler, ProgressBar, TrainingStatistics, progress_bar
from lbkeras.callbacks.live_lines import live_lines
from lbkeras.data import Pipeline
from tests.terminal import pseudo_terminal, screen

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
    before, last = arguments.pop("callbacks", []), arguments.pop("last", [])
    callbacks = [
        BatchSizeScheduler(train, lambda epoch, size: SIZES[epoch], verbose=bool(before)),
        TrainingStatistics(train),
        *before,
        ProgressBar(train, **bar_arguments),
        *last,
    ]
    model.fit(train, epochs=3, callbacks=callbacks, **arguments)


@pytest.fixture
def terminal(monkeypatch):
    """Returns a function that runs `fit` in a pseudo terminal and returns its output.

    Every step is drawn.
    """

    def shown(*arguments, columns=80, **named):
        monkeypatch.setattr(progress_bar, "_SECONDS_BETWEEN_DRAWINGS", -1.0)
        with pseudo_terminal(monkeypatch, columns) as written:
            run(*arguments, **named)
        return written[0]

    return shown


def drawings(written, columns=80):
    """Returns the screen after each drawing."""
    ends = [match.start() for match in re.finditer("\r(?!\n)", written)]
    return [screen(written[:end], columns) for end in [*ends, len(written)]]


@pytest.mark.parametrize("verbose", ["auto", 2])
def test_one_line_per_epoch_without_a_terminal(model, digits, capsys, verbose):
    run(model, digits, verbose=verbose, validation_data=digits, title="digits")
    *lines, summary = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and summary.startswith("18 updates, ")
    for epoch, (line, size, steps) in enumerate(zip(lines, SIZES, (11, 2, 5), strict=True)):
        assert line.startswith(f"digits Epoch {epoch + 1}/3 {steps} steps ")
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert re.search(rf" {name} \d+\.\d{{4}}( |$)", line), name
        assert f" batch_size {size} · learning_rate 0.1 · " in line
        assert re.search(r" [\d,]+ examples/s", line)
        assert line.count("batch_size") == line.count("learning_rate") == 1
        assert ("left" in line) == (epoch < 2)
        assert "\r" not in line and "\x1b" not in line


def test_what_matters_is_seen_at_80_columns(model, digits, terminal):
    title = "[12/120] increased_learning_rate seed 12"
    written = terminal(model, digits, title=title, validation_data=digits)
    seen = [drawing for drawing in drawings(written) if "━" in " ".join(drawing)]
    assert len(seen) == 11 + 2 + 5
    for drawing, (epoch, size, steps, step) in zip(
        seen,
        [(e, size, n, step + 1) for e, (size, n) in enumerate(zip(SIZES, (11, 2, 5), strict=True))
         for step in range(n)],
        strict=True,
    ):  # fmt: skip
        assert all(len(line) < 80 for line in drawing)
        text = title + " ".join(drawing).rpartition(title)[2]
        assert f"{title} Epoch {epoch + 1}/3 " in text and f" {step}/{steps} " in text
        assert f"batch_size {size} " in text and "learning_rate 0.1 " in text
        assert re.search(r"[\d,]+ examples/s", text)
        time = r"\d+ m?s left, run \d+ m?s" if epoch < 2 else r"\d+ m?s left"
        assert bool(re.search(time, text)) == (step > 1), text
    kept = screen(written, 80)
    assert [line.split(" steps ")[0] for line in kept if "Epoch" in line] == [
        f"{title} Epoch {epoch + 1}/3 {steps}" for epoch, steps in enumerate((11, 2, 5))
    ]
    assert " ".join(kept).count("val_accuracy 0.") == 3 and "━" not in " ".join(kept)


def test_a_wide_terminal_has_room_for_the_metrics(model, digits, terminal):
    first = next(d for d in drawings(terminal(model, digits, columns=200), 200) if "━" in d[-1])
    assert len(first) == 1 and re.search(r"━{2}─{22} 1/11 .* accuracy 0.* loss ", first[0])


class Speaks(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            print("a line")
            print("and half of one", end="")
            print("a warning", file=sys.stderr)


def test_messages_have_their_own_lines(model, digits, terminal, monkeypatch):
    """They come before the redrawn bar, on either stream and with or without a line end."""
    written = terminal(model, digits, callbacks=[Speaks()])
    lines = screen(written, 80)
    for message in ("a line", "and half of onea warning", "Epoch 2: batch size 128 -> 512"):
        assert message in lines
    assert lines.count("a line") == 3 and not any("━" in line for line in lines)


class Stops(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise KeyboardInterrupt


def test_an_exception_has_its_own_line(model, digits, monkeypatch):
    monkeypatch.setattr(progress_bar, "_SECONDS_BETWEEN_DRAWINGS", -1.0)
    with pseudo_terminal(monkeypatch, 80) as written:
        with pytest.raises(KeyboardInterrupt):
            run(model, digits, last=[Stops()])
        assert "write" in vars(sys.stdout)
        print("lbkeras: interrupted", file=sys.stderr)
    assert "━" in written[0] and screen(written[0], 80) == ["lbkeras: interrupted", ""]


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("JPY_PARENT_PID", "1")])
def test_nothing_is_redrawn_if_the_cursor_cannot_move(monkeypatch, name, value):
    with pseudo_terminal(monkeypatch, 80):
        assert live_lines() is not None
        monkeypatch.setenv(name, value)
        assert live_lines() is None


def test_no_bar_with_verbose_2_on_a_terminal(model, digits, monkeypatch):
    with pseudo_terminal(monkeypatch, 200) as written:
        run(model, digits, verbose=2)
        assert "write" not in vars(sys.stdout)  # given back
    assert written[0].count("Epoch") == 3 and "━" not in written[0]


def test_silent(model, digits, capsys):
    run(model, digits, verbose=0, validation_data=digits)
    assert capsys.readouterr().out == ""


def test_many_short_runs(model, digits, capsys):
    run(model, digits, verbose=1, seconds_between_lines=3600.0)
    assert capsys.readouterr().out == ""


def test_many_short_runs_on_a_terminal(model, digits, terminal):
    lines = screen(terminal(model, digits, verbose=1, seconds_between_lines=3600.0), 80)
    assert len(lines) == 2 and lines[0].startswith("Epoch 3/3 5 steps")
