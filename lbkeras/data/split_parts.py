"""Parses how TensorFlow Datasets (TFDS) writes splits of a set: "train[:80%]+test"."""

import re
from collections.abc import Iterable, Mapping, Sequence

from lbkeras.errors import UserError

_ONE = re.compile(r"(?P<name>[\w-]+)(?:\[(?P<part>[\d\w%:.-]+)\])?")
_EDGE = re.compile(r"(?:(?P<number>-?[\d_.]+)(?P<unit>%|shard)?)?")


def rows_of(split: str, shard_lengths: Mapping[str, Sequence[int]]) -> list[tuple[str, int, int]]:
    """Returns the rows that a split's name denotes, as TFDS reads it.

    As in TFDS, edges are rounded to the nearest number of examples, halves to the even one.

    Args:
        split: `NAME`, `NAME[from:to]` in examples, percent (`10%`) or files (`2shard`), negative
            from the end; `NAME[2shard]` for one file; `all` for everything; or several joined by
            `+`.
        shard_lengths: for each of the set's splits, the number of examples in each of its files.

    Returns:
        `(name, first, last)` for each summand; row `last` is not included.

    Raises:
        ValueError: no such split, or a part that extends beyond it.

    Example:

    >>> rows_of("train[:50%]+test[-1:]", {"train": [4, 3], "test": [2]})
    [('train', 0, 4), ('test', 1, 2)]
    """
    if split in shard_lengths:
        return [(split, 0, sum(shard_lengths[split]))]
    rows = []
    for each in re.split(r"\s*\+\s*", split):
        if each == "all":
            rows += [(name, 0, sum(lengths)) for name, lengths in shard_lengths.items()]
        else:
            rows.append(_rows_of_one(each, shard_lengths))
    return rows


def _rows_of_one(spec: str, shard_lengths: Mapping[str, Sequence[int]]) -> tuple[str, int, int]:
    found = _ONE.fullmatch(spec)
    if not found or found["name"] not in shard_lengths:
        raise ValueError(f"expected one of {list(shard_lengths)}, received {spec!r}")
    name, lengths = found["name"], shard_lengths[found["name"]]
    total = sum(lengths)
    if found["part"] is None:
        return name, 0, total
    edges = [_EDGE.fullmatch(edge) for edge in found["part"].split(":")]
    if None in edges or len(edges) > 2 or not any(edge[0] for edge in edges):
        raise ValueError(f"expected a part, received {spec!r}")
    unit = next((edge["unit"] for edge in edges if edge["unit"]), "")
    first, last = edges[0]["number"], edges[-1]["number"]
    if len(edges) == 1:
        if unit != "shard":
            raise ValueError(f"expected a slice, received {spec!r}")
        last = str(int(first) + 1)
    begin = 0 if first is None else _edge(first, unit, lengths)
    end = total if last is None else _edge(last, unit, lengths, is_last=True)
    if abs(begin) > total or abs(end) > total:
        raise ValueError(f"expected a part of {total} examples, received {spec!r}")
    return name, begin + total * (begin < 0), end + total * (end < 0)


def _edge(number: str, unit: str, lengths: Sequence[int], is_last: bool = False) -> int:
    """Returns where a part begins or ends, in examples, negative from the end."""
    if unit == "%":
        per_cent = float(number)
        if abs(per_cent) > 100:
            raise ValueError(f"expected -100 to 100 %, received {number}")
        return round(per_cent * sum(lengths) / 100)
    if unit != "shard":
        return int(number)
    files = int(number)
    return sum(lengths[: len(lengths) + files if is_last and files <= 0 else files])


def unknown_split(name: str, split: str, splits: Iterable[str]) -> UserError:
    """Returns the error about a split that a data set does not have.

    Args:
        name: the data set's.
        split: the requested split.
        splits: the existing splits.
    """
    return UserError(
        f"data set {name!r}: unknown split {split!r}; expected one of "
        f"{', '.join(splits)} or a part of one, like 'train[:10%]'."
    )
