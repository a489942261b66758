"""Tables and sentences fit the width that they are given; in a pipe they have any width."""

import pytest

from lbkeras.terminal_text import table, terminal_width, wrapped
from tests.terminal import pseudo_terminal

ARMS = [
    ["arm", "n", "test accuracy %", "updates", "", "time, s", ""],
    ["small_batch", "20", "97.53 ± 0.57", "1,320", "", "9.89", ""],
    ["gradual_warmup", "20", "91.50 ± 19.27", "330", "4.00x fewer", "9.28", "1.07x less"],
]
PHASES = [
    ["arm", "epochs", "batch"],
    ["increased_learning_rate", "1-12", "20"],
    ["", "13-24", "100"],
]


@pytest.mark.parametrize("width", [40, 60, 80, 81, 100])
def test_a_table_fits_and_loses_no_cell(width):
    text = table(ARMS, width)
    assert max(map(len, text.splitlines())) <= width
    for cell in {cell for row in ARMS for cell in row}:
        assert cell in text
    assert text.count("gradual_warmup") == len(text.split("\n\n"))  # each part names the arm


def test_a_table_that_fits_stays_whole():
    wide = table(ARMS)
    assert len(wide.splitlines()) == 3
    width = max(map(len, wide.splitlines()))
    assert table(ARMS, width) == wide != table(ARMS, width - 1)


def test_a_ratio_stays_beside_its_number():
    for part in table(ARMS, 45).split("\n\n"):
        assert ("330" in part) == ("4.00x fewer" in part)
        assert ("9.28" in part) == ("1.07x less" in part)


def test_names_get_their_own_lines_where_rows_belong_together():
    assert table(PHASES, 30).splitlines() == [
        "  epochs  batch",
        "increased_learning_rate",
        "    1-12     20",
        "   13-24    100",
    ]


def test_a_sentence_keeps_its_indentation_and_its_paths():
    line = "    report: /a/very/long/path/that/no/one/may/break/report.md and more words"
    assert wrapped(line) == line
    assert wrapped(line, 40).splitlines() == [
        "    report:",
        "    /a/very/long/path/that/no/one/may/break/report.md",
        "    and more words",
    ]
    assert wrapped("one two three", 8, "  ").splitlines() == ["one two", "  three"]


def test_only_a_terminal_has_a_width(monkeypatch):
    assert terminal_width() is None
    with pseudo_terminal(monkeypatch, 72):
        found = terminal_width()
    assert found == 72
