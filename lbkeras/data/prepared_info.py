"""Reads what a prepared set of TensorFlow Datasets (TFDS) says of itself in its JSON files.

Needs neither TFDS nor TensorFlow: a set that was prepared with them can be read without them.
"""

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lbkeras.data.file_parts import SplitFiles
from lbkeras.errors import UserError, one_line, suggestion

_NAME = re.compile(r"(\w+)(?:/([\w.+-]+))?(?::((?:\d+|\*)(?:\.(?:\d+|\*)){2}))?")
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_INFO, _FEATURES = "dataset_info.json", "features.json"


@dataclasses.dataclass(frozen=True)
class PreparedInfo:
    """An image-classification set on disk.

    Attributes:
        name: as the user wrote it.
        full_name: name with config and version.
        description: the set's own, in one line.
        form: the file format: "tfrecord", "array_record" or another.
        splits: the splits by name.
        image_key: the feature that holds the image.
        label_key: the feature that holds the class.
        shape: `(height, width, channels)` of the images; None for sides that differ.
        num_classes: number of classes.
    """

    name: str
    full_name: str
    description: str
    form: str
    splits: Mapping[str, SplitFiles]
    image_key: str
    label_key: str
    shape: tuple[int | None, ...]
    num_classes: int


def default_data_dir() -> str:
    """Returns TFDS' folder of prepared sets: `TFDS_DATA_DIR`, else `~/tensorflow_datasets`."""
    home = os.path.join(os.path.expanduser("~"), "tensorflow_datasets")
    return os.environ.get("TFDS_DATA_DIR", home)


def read_info(name: str, data_dir: str | os.PathLike | None = None) -> PreparedInfo:
    """Finds a prepared set and reads what it says of itself.

    Args:
        name: `NAME[/CONFIG][:VERSION]`, with `*` for any number in the version. Defaults: the set's
            default config, and the newest version on disk.
        data_dir: the folder that holds the folder `NAME`; None: `default_data_dir()`.

    Raises:
        UserError: a set that is not on disk, damaged JSON, no single uint8 image with a class
            label.
    """
    folder = os.path.expanduser(data_dir or default_data_dir())
    where = _folder_of(name, folder)
    try:
        info = json.loads((where / _INFO).read_text("utf-8"))
        features = json.loads((where / _FEATURES).read_text("utf-8"))
        splits = {each.name: each for each in _splits(info, where)}
        full_name = "/".join(filter(None, (info["name"], info.get("configName"), info["version"])))
        image_key, label_key, shape, num_classes = _image_and_label(name, info, features, where)
    except UserError:
        raise
    except Exception as error:  # damaged JSON can raise anything
        said = f"no {error}" if isinstance(error, KeyError) else one_line(str(error))
        raise UserError(
            f"data set {name!r} in {folder!r}: expected a dataset_info.json and features.json of "
            f"TFDS, received {said or type(error).__name__}"
        ) from error
    return PreparedInfo(
        name=name,
        full_name=full_name,
        description=" ".join((info.get("description") or "").split()),
        form=info.get("fileFormat") or "tfrecord",
        splits=splits,
        image_key=image_key,
        label_key=label_key,
        shape=shape,
        num_classes=num_classes,
    )


def _folder_of(name: str, folder: str) -> Path:
    """Returns the folder of a set's files."""
    found = _NAME.fullmatch(name)
    base_name = re.split("[:/]", name)[0]
    if found:
        base_name = _snake_case(found[1])
        below = Path(folder, base_name)
        configs = [found[2]] if found[2] else [_default_config(below), ""]
        version = found[3] or "*.*.*"
        for each in (below / config for config in configs if config is not None):
            versions = [made for made in _folders(each) if _matches(made, version)]
            if versions:
                return each / max(versions, key=_numbers)
    there = _folders(Path(folder, base_name)) if found else []
    also = f" (only {', '.join(there)} is there)" if there else ""
    hint = "" if there else suggestion(base_name, _folders(Path(folder)))
    raise UserError(
        f"data set {name!r} is not on disk: searched {folder!r}{also}{hint}; prepare it with "
        f"`tfds build {name} --data_dir {folder}`, or name its folder with data_dir"
    )


def _snake_case(name: str) -> str:
    """Returns `fashion_mnist` for `FashionMNIST`, as TFDS treats them as the same set."""
    name = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def _default_config(folder: Path) -> str | None:
    try:
        return json.loads((folder / ".config/metadata.json").read_text()).get("default_config_name")
    except (OSError, ValueError, AttributeError):
        return None


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() and not entry.name.startswith(".")
    )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def _matches(folder: str, version: str) -> bool:
    """Whether a folder's name matches this version, in which `*` is any number."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", folder):
        return False
    pairs = zip(folder.split("."), version.split("."), strict=True)
    return all(wanted in ("*", number) for number, wanted in pairs)


def _splits(info: dict, where: Path):
    """Yields the set's splits with the files that its templates name."""
    suffix = info.get("fileFormat") or "tfrecord"
    for split in info["splits"]:
        lengths = [int(length) for length in split.get("shardLengths", ())]
        digits = max(5, len(str(len(lengths))))
        paths = []
        for shard in range(len(lengths)):
            index, number = f"{shard:0{digits}}", f"{len(lengths):0{digits}}"
            path = (split.get("filepathTemplate") or _TEMPLATE).format(
                DATASET=info["name"],
                SPLIT=split["name"],
                FILEFORMAT=suffix,
                SHARD_INDEX=index,
                NUM_SHARDS=number,
                SHARD_X_OF_Y=f"{index}-of-{number}",
            )
            paths.append(os.fspath(where / path))
        yield SplitFiles(split["name"], sorted(paths), lengths, int(split.get("numBytes", 0)))


def _image_and_label(
    name: str, info: dict, features: dict, where: Path
) -> tuple[str, str, tuple[int | None, ...], int]:
    """Returns the image's and the label's feature, the image's shape and the number of classes."""
    kind, content = _feature(features)
    named = {}
    if kind.endswith(".FeaturesDict"):
        content = content.get("features", content)
        named = {key: _feature(feature) for key, feature in content.items()}
    images = [key for key, (kind, _) in named.items() if kind.endswith("image_feature.Image")]
    labels = [key for key, (kind, _) in named.items() if kind.endswith(".ClassLabel")]
    supervised = _supervised(info)
    if len(supervised) > 1 and supervised[0] in images and supervised[1] in labels:
        images, labels = [supervised[0]], [supervised[1]]
    if (
        len(images) != 1
        or len(labels) != 1
        or named[images[0]][1].get("dtype", "uint8") not in ("", "uint8")
    ):
        raise UserError(
            f"data set {name!r} is not an image-classification set: expected one uint8 image "
            f"and one class label, received {', '.join(named) or 'no named features'}."
        )
    label = named[labels[0]][1]
    num_classes = int(label.get("numClasses") or label.get("num_classes") or 0)
    if not num_classes:
        names = where / f"{labels[0]}.labels.txt"
        lines = names.read_text("utf-8").split("\n") if names.is_file() else []
        num_classes = sum(bool(line.strip()) for line in lines)
    if not num_classes:
        raise UserError(
            f"data set {name!r}: expected a features.json with the number of classes, received none"
        )
    shape = named[images[0]][1].get("shape") or (-1, -1, 3)
    sides = shape.get("dimensions", ()) if isinstance(shape, dict) else shape
    sides = [int(-1 if side is None else side) for side in sides]
    if len(sides) != 3:
        raise ValueError(f"images of shape {sides}")
    return images[0], labels[0], tuple(side if side >= 0 else None for side in sides), num_classes


def _feature(feature: dict) -> tuple[str, dict[str, Any]]:
    """Returns a feature's class and settings, whether its file is of a new or an old TFDS."""
    if "pythonClassName" not in feature:  # before TFDS 4.5
        content = feature["content"]
        return feature["type"], json.loads(content) if isinstance(content, str) else content
    settings = [each for key, each in feature.items() if isinstance(each, dict)]
    return feature["pythonClassName"], settings[0] if settings else {}


def _supervised(info: dict) -> list[str]:
    """Returns the keys of x and y if the set names them, else an empty list."""
    keys = info.get("supervisedKeys") or {}
    if "input" in keys and "output" in keys:
        return [keys["input"], keys["output"]]
    return [item.get("featureKey") for item in keys.get("tuple", {}).get("items", ())]
