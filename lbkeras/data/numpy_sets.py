"""Loads prepared image data sets of TensorFlow Datasets (TFDS) without TensorFlow.

Sets that fit in memory become NumPy arrays; others stay on disk and are read through an index of
their records. Pillow decodes the images, large ones in several threads.
"""

import concurrent.futures
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lbkeras.data.decode_image import decode_image
from lbkeras.data.file_parts import FileParts, check_files, open_parts
from lbkeras.data.prepared_info import PreparedInfo, read_info
from lbkeras.data.split_parts import rows_of, unknown_split
from lbkeras.data.tf_example import image_and_label
from lbkeras.errors import UserError, one_line

# Larger sets stay on disk, encoded, as with TensorFlow in `lbkeras.data.images`.
MAX_BYTES_IN_MEMORY = 2 << 30
_CHUNK = 1024  # records that a thread reads at a time
# With fewer pixels threads are slower: Python's 50 to 90 microseconds per image then dominate, and
# only one thread at a time runs Python.
_WORTH_THREADS = 1 << 14


class PreparedSet:
    """The examples of a split of a prepared set, read from its files by index.

    `len(set)` is their number, `set[place]` the example at an index, and `set.__getitems__(places)`
    a list of examples, read and decoded in several threads. It may be called from several threads.

    Args:
        info: what is known of the set.
        records: the records of one split.
        decode: `(element, seed) -> example`, called with an element `(encoded, label)` and None as
            the seed. None: the examples are the elements, bytes and an integer.

    Attributes:
        name: the set's name.
        shards: number of examples in each file, in the order of the examples.
        bytes_each: mean size of an example in the files, in bytes.
    """

    def __init__(self, info: PreparedInfo, records: FileParts, decode: Callable | None = None):
        self.name = info.name
        self.shards, self.bytes_each = records.shards, records.bytes_each
        self._info, self._records, self._decode = info, records, decode
        self._threads = _threads(info)
        self._parse = image_and_label(info.image_key, info.label_key, info.num_classes)

    def decoded(self, decode: Callable) -> "PreparedSet":
        """Returns the same examples, decoded by `decode`."""
        return PreparedSet(self._info, self._records, decode)

    def __len__(self) -> int:
        return self._records.num_examples

    def __getitem__(self, place: int) -> tuple[Any, int]:
        if not -len(self) <= place < len(self):
            raise IndexError(f"index {place} is out of range for {len(self)} examples")
        return self._examples([place % len(self)])[0]

    def __getitems__(self, places: Sequence[int]) -> list[tuple[Any, int]]:
        """Returns the examples at `places`, in that order.

        Raises:
            UserError: a record, image or label is damaged.
        """
        threads = self._threads
        pieces = [piece.tolist() for piece in np.array_split(places, threads) if len(piece)]
        if len(pieces) < 2:
            return self._examples(places)
        with concurrent.futures.ThreadPoolExecutor(len(pieces)) as pool:
            return [example for piece in pool.map(self._examples, pieces) for example in piece]

    def _examples(self, places: Sequence[int]) -> list[tuple[Any, int]]:
        records = self._records.read(np.asarray(places, np.int64))
        return [self._example(*each) for each in zip(places, records, strict=True)]

    def _example(self, place: int, record: bytes) -> tuple[Any, int]:
        try:
            element = self._parse(record)
            return element if self._decode is None else self._decode(element, None)
        except ValueError as error:
            raise UserError(
                f"data set {self.name!r}: {one_line(str(error))} (example {place:,})"
            ) from error


def load_set(
    name: str,
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    *,
    max_bytes: int = MAX_BYTES_IN_MEMORY,
) -> tuple[np.ndarray, np.ndarray] | PreparedSet:
    """Loads an image-classification set of TFDS by name from disk.

    Loads the same examples as `lbkeras.data.images.load_images`, without TensorFlow.

    Args:
        name: TFDS name, optionally with a config or version (`"name/config:1.2.3"`).
        split: in TFDS' notation: `"train"`, `"test"`, `"train[:10%]"`, `"train+test"`.
        data_dir: folder that holds `NAME/VERSION`. Default: TFDS' own (`TFDS_DATA_DIR`, else
            `~/tensorflow_datasets`).
        max_bytes: sets that decode to more than this stay on disk. Default 2 GiB.

    Returns:
        For images of one shape that fit in memory, arrays `(images, labels)` in the set's order:
        uint8 `(num_examples, height, width, channels)`, int64 `(num_examples,)`. Otherwise a
        `PreparedSet` of `(encoded, label)`, bytes and an integer; `lbkeras.data.numpy_photographs`
        decodes them.

    Raises:
        UserError: the set is not on disk; the split is unknown or empty; examples do not consist of
            one image and its class label; the set's JSON is damaged; a file is missing, too short,
            neither TFRecord nor ArrayRecord, or has a different number of records than the set
            says. For a set loaded into memory also: a record, image or label is damaged.
    """
    info, records = _opened(name, split, data_dir)
    if None in info.shape or records.num_examples * math.prod(info.shape) > max_bytes:
        return PreparedSet(info, records)
    return _arrays(info, records)


def load_arrays(
    name: str, split: str = "train", data_dir: str | os.PathLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Loads a prepared set of images of one shape as `(images, labels)`, whatever its size.

    Args:
        name: as for `load_set`.
        split: as for `load_set`.
        data_dir: as for `load_set`.

    Raises:
        UserError: as `load_set`, or the images have several shapes.
    """
    info, records = _opened(name, split, data_dir)
    if None in info.shape:
        raise UserError(
            f"data set {name!r}: expected images of one shape, received {info.shape}; "
            "use prepared_set instead"
        )
    return _arrays(info, records)


def prepared_set(
    name: str,
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    *,
    decode: Callable | None = None,
) -> PreparedSet:
    """Opens a prepared set as an object that is read by index, whatever its size.

    Args:
        name: as for `load_set`.
        split: as for `load_set`.
        data_dir: as for `load_set`.
        decode: function applied to each example, such as `numpy_photographs.center_crop()`; None:
            examples stay `(encoded, label)`.

    Raises:
        UserError: as `load_set`.
    """
    info, records = _opened(name, split, data_dir)
    return PreparedSet(info, records, decode)


def describe_set(name: str, data_dir: str | os.PathLike | None = None) -> str:
    """Returns a prepared set's full name with version, and its description.

    Raises:
        UserError: as `load_set`.
    """
    info = read_info(name, data_dir)
    return f"{info.full_name}. {info.description}".strip()


def form_of_set(
    name: str, data_dir: str | os.PathLike | None = None
) -> tuple[tuple[int | None, ...], int]:
    """Returns the shape of a set's images, None for unknown sides, and its number of classes.

    Raises:
        UserError: as `load_set`.
    """
    info = read_info(name, data_dir)
    return info.shape, info.num_classes


def _opened(name: str, split: str, data_dir) -> tuple[PreparedInfo, FileParts]:
    """Returns a set's info and the records of a split."""
    info = read_info(name, data_dir)
    lengths = {each: files.lengths for each, files in info.splits.items()}
    try:
        rows = rows_of(split, lengths)
    except ValueError as error:
        raise unknown_split(name, split, lengths) from error
    parts = [part for each, *edges in rows for part in info.splits[each].parts(*edges)]
    if not parts:
        raise UserError(f"data set {name!r}: split {split!r} is empty.")
    check_files(name, (part.path for part in parts), info.splits.values())
    return info, open_parts(name, info.form, parts)


def _arrays(info: PreparedInfo, records: FileParts) -> tuple[np.ndarray, np.ndarray]:
    """Reads a split into memory, in several threads."""
    images = np.empty((records.num_examples, *info.shape), np.uint8)  # type: ignore[arg-type]
    labels = np.empty(records.num_examples, np.int64)

    def decode(element, seed=None):
        encoded, label = element
        image = decode_image(encoded, images.shape[-1])
        if image.shape != info.shape:
            raise ValueError(f"expected images of shape {info.shape}, received {image.shape}")
        return image, label

    examples = PreparedSet(info, records, decode)

    def read(first: int) -> None:
        last = min(first + _CHUNK, len(images))
        for place, example in enumerate(examples._examples(range(first, last)), first):
            images[place], labels[place] = example

    with concurrent.futures.ThreadPoolExecutor(_threads(info)) as pool:
        try:
            for _ in pool.map(read, range(0, len(images), _CHUNK)):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
    return images, labels


def _threads(info: PreparedInfo) -> int:
    """Returns how many threads decode images of a set."""
    small = None not in info.shape and math.prod(info.shape[:2]) < _WORTH_THREADS  # type: ignore[arg-type]
    return 1 if small else os.cpu_count() or 1
