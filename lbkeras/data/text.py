"""Loads a text file as windows of characters, and the same windows shifted by one."""

import functools
import re
from pathlib import Path

import numpy as np

from lbkeras.errors import UserError

WINDOW = 64  # characters, where the name gives none
_PARTS = {"train": (0, 90), "validation": (90, 95), "test": (95, 100)}  # percent of the characters
_NAME = re.compile(r"(.+\.txt)(?::(\d+))?")


def is_text(name: str) -> bool:
    """Whether a data set's name is a text file's: `"NAME.txt"` or `"NAME.txt:WINDOW"`."""
    return _NAME.fullmatch(name) is not None


def load_text(name, split="train", data_dir=None):
    """Loads windows of a text file's characters, each character with the one that follows it.

    The file is split by position: the first 90 % for training, the next 5 % for validation, the
    last 5 % for testing. Each part is cut into windows of `time` characters that do not overlap;
    the few characters left at its end are not used. The vocabulary is the characters of the whole
    file, in Unicode order, numbered from 0.

    Args:
        name: the file's name, followed by a colon and the window's length if that is not 64:
            `"tinyshakespeare.txt"`, `"tinyshakespeare.txt:100"`.
        split: `"train"`, `"validation"` or `"test"`.
        data_dir: the folder that holds the file. Default: the current one.

    Returns:
        `(tokens, next_tokens)`, int32 `(num_examples, time)`: `next_tokens[i, t]` follows
        `tokens[i, t]` in the file. `lbkeras.models.lstm_language_model` can learn to predict it.

    Raises:
        UserError: a file that does not exist, is not UTF-8 text or is too short for a window, an
            unknown split, a window of no characters.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> _ = Path(folder, "abc.txt").write_text("abc " * 100)
    >>> tokens, next_tokens = load_text("abc.txt:8", "train", folder)
    >>> tokens.shape, tokens[0].tolist(), next_tokens[0].tolist()
    ((44, 8), [1, 2, 3, 0, 1, 2, 3, 0], [2, 3, 0, 1, 2, 3, 0, 1])
    """
    if split not in _PARTS:
        raise UserError(f"{name}: split: expected one of {', '.join(map(repr, _PARTS))}, "
                        f"received {split!r}")  # fmt: skip
    path, window = _path_and_window(name, data_dir)
    tokens, _ = _tokens(path)
    first, last = (len(tokens) * per_cent // 100 for per_cent in _PARTS[split])
    part = tokens[first:last]
    windows = (len(part) - 1) // window
    if windows < 1:
        raise UserError(
            f"data set {name!r}: expected at least {window + 1:,} characters in the part "
            f"{split!r} for a window of {window:,}, received {len(part):,} of {len(tokens):,}"
        )
    end = windows * window
    return part[:end].reshape(windows, window), part[1 : end + 1].reshape(windows, window)


def window_of(name: str) -> int:
    """Returns the characters per example, from a text file's name."""
    return _path_and_window(name, None)[1]


def describe_text(name, data_dir=None) -> str:
    """Returns one line about a text file: its length, its vocabulary and how it is split.

    Raises:
        UserError: a file that does not exist or is not text, a window of no characters.
    """
    path, window = _path_and_window(name, data_dir)
    tokens, vocabulary = _tokens(path)
    parts = ", ".join(f"{last - first} % {split}" for split, (first, last) in _PARTS.items())
    return (
        f"{path.name}, {len(tokens):,} characters, {len(vocabulary)} different ones; by position "
        f"{parts}; windows of {window:,} characters, each predicted from those before it"
    )


def _path_and_window(name: str, data_dir) -> tuple[Path, int]:
    match = _NAME.fullmatch(name)
    window = int(match[2] or WINDOW)
    if not window:
        raise UserError(f"data set {name!r}: expected a window of at least 1 character, received 0")
    return Path(data_dir or ".").expanduser() / match[1], window


@functools.lru_cache(maxsize=2)
def _tokens(path: Path):
    """Returns the file's characters as int32 numbers, and the list of characters they index."""
    if path.is_dir():
        raise UserError(f"data set {str(path)!r}: expected a text file, received a folder")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(
            f"data set {str(path)!r}: expected UTF-8 text, received other bytes"
        ) from None
    except OSError as error:
        raise UserError(
            f"data set {path.name!r} is not on disk: searched {str(path.parent)!r}; name its "
            f"folder with data_dir ({error.strerror})"
        ) from None
    if not text:
        raise UserError(f"data set {str(path)!r}: expected text, received an empty file")
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    vocabulary, tokens = np.unique(points, return_inverse=True)
    return tokens.astype(np.int32), [chr(point) for point in vocabulary]
