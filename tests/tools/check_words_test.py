"""The word list finds what it should, and nothing else."""

import pytest

from tools.check_words import find_words


@pytest.mark.parametrize(
    "text, words",
    [
        ("The run goes on.", "goes on"),
        ("# The run goes\n# on.", "goes # on"),
        ('"the run goes "\n"on"', 'goes " "on'),
        ("It makes 100 updates an epoch.", "updates an epoch"),
        ("The weights are normalised.", "normalised"),
        ("The nodes stand in a row.", "stand"),
    ],
)
def test_it_finds(text, words):
    assert [found for _, found, _ in find_words(text)] == [words]


@pytest.mark.parametrize(
    "text",
    ["The run resumes.", "It raises an error.", "A stand-alone file.", "An update on a device."],
)
def test_it_leaves_alone(text):
    assert find_words(text) == []


def test_it_tells_the_line():
    assert [line for line, *_ in find_words("one\ntwo\nit lies here\n")] == [3]
