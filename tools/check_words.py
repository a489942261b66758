"""Finds words that lbkeras does not use, by the list in pyproject.toml's [tool.words].

    python tools/check_words.py [FILE ...]     by default all files that git knows

Prints `FILE:LINE: WORDS -> REPLACEMENT` and exits with 1 if it finds one. Add other meanings of a
word to `other_meanings` in the list.
"""

import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUFFIXES = (".cff", ".md", ".py", ".pyi", ".sh", ".toml", ".txt", ".yml")
# What separates two words: line breaks, comment marks and the quotes of divided strings, too.
_BETWEEN = r"""[\\s"'#]+"""


@functools.cache
def _settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["words"]


def _pattern(words: str) -> re.Pattern:
    return re.compile(rf"\b(?:{re.sub(' ', _BETWEEN, words)})\b", re.IGNORECASE)


@functools.cache
def _rules() -> tuple[list[tuple[re.Pattern, str]], re.Pattern]:
    replace = _settings()["replace"].items()
    return [(_pattern(words), to) for words, to in replace], _pattern(
        "|".join(_settings()["other_meanings"])
    )


def find_words(text: str) -> list[tuple[int, str, str]]:
    """Returns the unwanted words of a text.

    Args:
        text: code or prose. Comment marks and quotes may divide the words.

    Returns:
        (line, counted from 1; the words; their replacement) of each, ordered by line.
    """
    rules, other_meanings = _rules()
    allowed = [match.span() for match in other_meanings.finditer(text)]
    found = []
    for pattern, replacement in rules:
        for match in pattern.finditer(text):
            if not any(a <= match.start() and match.end() <= b for a, b in allowed):
                line = text.count("\n", 0, match.start()) + 1
                found.append((line, " ".join(match.group().split()), replacement))
    return sorted(found)


def main(names: list[str]) -> int:
    """Prints the unwanted words of the files; returns 1 if there are any, else 0."""
    if not names:
        listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
        exclude = tuple(_settings()["exclude"])
        names = [each for each in listed if each.endswith(SUFFIXES)]
        names = [each for each in names if not each.startswith(exclude)]
    found = [(name, *each) for name in names for each in find_words((ROOT / name).read_text())]
    for name, line, words, replacement in found:
        print(f"{name}:{line}: {words} -> {replacement}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
