"""Finds words that lbkeras does not use, by the list in pyproject.toml's [tool.words].

    python tools/check_words.py [FILE ...]     all files that git knows, if none is named

Prints `FILE:LINE: WORD -> what to write` and exits with 1 if it finds one. A line that needs the
word for another meaning belongs into `other_meanings` of the list.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LINE_BREAK = re.compile(r"\s*\n\s*(?:#+ )?")


def _rules() -> tuple[list[tuple[re.Pattern, str]], re.Pattern, list[str]]:
    """The words with their replacements, the other meanings, and the files left out."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["words"]
    words = [(re.compile(rf"\b(?:{word})\b", re.I), to) for word, to in table["replace"].items()]
    return words, re.compile("|".join(table["other_meanings"]), re.I), table["exclude"]


def find_words(text: str) -> list[tuple[int, str, str]]:
    """The unwanted words of a text, also those that a line break divides.

    Args:
        text: a file's text: code, prose, or both.

    Returns:
        (line, counted from 1; the words as written; what to write) of each, in order.
    """
    words, other_meanings, _ = _rules()
    # As long as the text, so that places stay: breaks and comment marks become spaces.
    flat = _LINE_BREAK.sub(lambda match: " " * len(match.group()), text)
    one_space = re.sub(" +", " ", flat)
    places = [place for place, mark in enumerate(flat) if flat[place : place + 2] != "  "]
    allowed = [match.span() for match in other_meanings.finditer(one_space)]
    found = []
    for pattern, replacement in words:
        for match in pattern.finditer(one_space):
            start, end = match.span()
            if not any(first <= start and end <= last for first, last in allowed):
                found.append((text.count("\n", 0, places[start]) + 1, match.group(), replacement))
    return sorted(found)


def main(names: list[str]) -> int:
    """Prints what is found in the files; 1 if anything is, else 0."""
    if not names:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
        exclude = tuple(_rules()[2])
        suffixes = (".md", ".py", ".pyi", ".sh", ".toml", ".yml", ".txt")
        names = [
            name for name in listed.stdout.splitlines()
            if name.endswith(suffixes) and not name.startswith(exclude)
        ]  # fmt: skip
    count = 0
    for name in names:
        for line, word, replacement in find_words((ROOT / name).read_text()):
            print(f"{name}:{line}: {word} -> {replacement}")
            count += 1
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
