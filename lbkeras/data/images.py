"""Loads image-classification sets of TensorFlow Datasets (TFDS) from disk, without a network."""

import contextlib
import difflib
import os
import re

import numpy as np

from lbkeras.data.file_parts import FilePart, SplitFiles, check_files, open_parts
from lbkeras.data.split_parts import unknown_split
from lbkeras.errors import UserError, one_line

# Larger sets stay on disk, encoded. CIFAR-10 is 0.15 GB, SVHN with its extra images 1.9 GB.
MAX_BYTES_IN_MEMORY = 2 << 30


def load_images(name, split="train", data_dir=None, *, max_bytes=MAX_BYTES_IN_MEMORY):
    """Loads an image-classification set of TFDS by name from disk.

    Args:
        name: TFDS name, such as `"cifar10"` or `"mnist"`, optionally with a config or version
            (`"name/config:1.2.3"`). The files suffice, even if the installed TFDS has no code for
            the set.
        split: in TFDS' notation: `"train"`, `"test"`, `"train[:10%]"`, `"train+test"`.
        data_dir: folder that holds `NAME/VERSION`. Default: TFDS' own (`TFDS_DATA_DIR`, else
            `~/tensorflow_datasets`).
        max_bytes: sets that decode to more than this stay on disk. Default 2 GiB.

    Returns:
        For images of one shape that fit in memory, arrays `(images, labels)` in the set's order:
        uint8 `(num_examples, height, width, channels)`, int64 `(num_examples,)`. Otherwise an
        `lbkeras.data.random_access.RandomAccess` of `(encoded, label)`, string and int64 scalars,
        in that order; `lbkeras.data.imagenet` decodes them. The first time, the record lengths of
        its TFRecord files are read (a second per 300,000 records, plus the disk's time for as many
        reads) and kept in the user's cache.

    Raises:
        UserError: unknown set, set not on disk, unknown or empty split, no single image with a
            class label; files that are missing, too short or damaged, of a format other than
            TFRecord and ArrayRecord, or with a different number of records than the set says. In
            memory also damaged records and images, and labels below 0 or not below the set's number
            of classes; in a set that stays on disk these raise a `tf.errors.OpError` when they are
            read. Nothing is ever downloaded.
    """
    builder = _find_builder(name, data_dir)
    image_key, label_key, shape = _image_and_label(name, builder)
    num_examples = _num_examples(name, builder, split)
    _check_files(name, builder, split)
    parse = _parser(builder, image_key, label_key)
    if None in shape or num_examples * shape[0] * shape[1] * shape[2] > max_bytes:
        return _records(name, builder, split, parse)
    return _in_memory(name, _records(name, builder, split, _decoding(parse, shape)), shape)


def describe_images(name, data_dir=None):
    """Returns a prepared set's full name with version, and its description.

    Raises:
        UserError: unknown set, or set not on disk.
    """
    info = _find_builder(name, data_dir).info
    return f"{info.full_name}. {' '.join((info.description or '').split())}".strip()


def form_of_images(name, data_dir=None):
    """Returns the shape of a set's images, None for unknown sides, and its number of classes.

    They come from the files of a set on disk, else from TFDS' code.

    Raises:
        UserError: a set that is neither on disk nor in TFDS, or as `load_images`.
    """
    import tensorflow_datasets as tfds

    try:
        builder = _find_builder(name, data_dir)
    except UserError:
        if re.split("[:/]", name)[0] not in tfds.list_builders(with_community_datasets=False):
            raise
        builder = tfds.builder(name)
    _, label_key, shape = _image_and_label(name, builder)
    return shape, builder.info.features[label_key].num_classes


def _find_builder(name, data_dir):
    """Makes the builder of a prepared set from its files, without the set's code or a network."""
    import tensorflow_datasets as tfds  # seconds to import

    from lbkeras.keras_internals.tfds import builder_from_files, default_data_dir

    folder = os.path.expanduser(data_dir or default_data_dir())
    try:
        if re.fullmatch(r"\w+(/[\w.=,+-]+)?(:[\w.*]+)?", name):
            return builder_from_files(name, folder)
    except tfds.core.DatasetNotFoundError:
        pass
    except Exception as error:  # a damaged file can make parsers raise anything
        raise UserError(
            f"data set {name!r} in {folder!r}: expected a dataset_info.json and features.json of "
            f"TFDS, received {one_line(str(error)) or type(error).__name__}"
        ) from error

    base_name = re.split("[:/]", name)[0]
    on_disk = _folders(folder)
    known = tfds.list_builders(with_community_datasets=False)
    if base_name in known:
        found = ", ".join(_folders(os.path.join(folder, base_name)))
        also = f" (only {found} is there)" if found else ""
        raise UserError(
            f"data set {name!r} is not on disk: searched {folder!r}{also}; prepare it with "
            f"`tfds build {name} --data_dir {folder}`, or name its folder with data_dir"
        )
    nearest = difflib.get_close_matches(base_name, sorted({*known, *on_disk}), n=3)
    hint = (
        f"did you mean {' or '.join(map(repr, nearest))}?"
        if nearest
        else "see tfds.list_builders()"
    )
    raise UserError(f"unknown data set {name!r}, neither in TFDS nor in {folder!r}: {hint}")


def _folders(folder):
    if not os.path.isdir(folder):
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def _image_and_label(name, builder):
    """Returns `(image_key, label_key, image_shape)`; unknown sides of the shape are None."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    pairs = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    images = [k for k, f in pairs.items() if type(f) is tfds.features.Image]
    labels = [k for k, f in pairs.items() if type(f) is tfds.features.ClassLabel]
    supervised = builder.info.supervised_keys
    if supervised and supervised[0] in images and supervised[1] in labels:
        images, labels = [supervised[0]], [supervised[1]]
    if len(images) != 1 or len(labels) != 1 or np.dtype(pairs[images[0]].np_dtype) != np.uint8:
        raise UserError(
            f"data set {name!r} is not an image-classification set: expected one uint8 image "
            f"and one class label, received {', '.join(pairs) or 'no named features'}."
        )
    if not pairs[labels[0]].num_classes:
        raise UserError(
            f"data set {name!r}: expected a features.json with the number of classes, received none"
        )
    return images[0], labels[0], tuple(pairs[images[0]].shape)


def _num_examples(name, builder, split):
    try:
        num_examples = builder.info.splits[split].num_examples
    except (KeyError, ValueError, AssertionError) as error:
        raise unknown_split(name, split, builder.info.splits) from error
    if num_examples < 1:  # TFDS counts -3 in "train[4:1]"
        raise UserError(f"data set {name!r}: split {split!r} is empty.")
    return num_examples


def _check_files(name, builder, split):
    """Refuses missing files of a split, and files with too few bytes."""
    files = {instruction.filename for instruction in builder.info.splits[split].file_instructions}
    splits = (
        SplitFiles(whole.name, list(map(os.fspath, whole.filepaths)), [], int(whole.num_bytes or 0))
        for whole in builder.info.splits.values()
    )
    check_files(name, map(os.fspath, files), splits)


def _records(name, builder, split, parse):
    """Returns the records of a split in the order of its files, parsed in the graph."""
    from lbkeras.data.records import Records

    parts = [
        FilePart(os.fspath(part.filename), part.skip, part.take, part.examples_in_shard)
        for part in builder.info.splits[split].file_instructions
    ]
    return Records(open_parts(name, builder.info.file_format.value, parts), parse)


def _parser(builder, image_key, label_key):
    """Returns a function: serialized example -> `(encoded image, label)`; it checks the label."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    decoders = {image_key: tfds.decode.SkipDecoding()}
    partial = tfds.decode.PartialDecoding({image_key: True, label_key: True}, decoders)
    with _without_warnings():  # PartialDecoding uses what TFDS itself deprecated
        features = partial.extract_features(builder.info.features)
    num_classes = builder.info.features[label_key].num_classes

    def parse(record):
        example = features.deserialize_example(record, decoders=decoders)
        label = example[label_key]
        known = tf.debugging.Assert(
            (label >= 0) & (label < num_classes),
            [f"expected labels from 0 to {num_classes - 1}, received", label],
        )
        with tf.control_dependencies([known]):
            return example[image_key], tf.identity(label)

    return parse


@contextlib.contextmanager
def _without_warnings():
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _decoding(parse, shape):
    """Returns `parse` with the image decoded; a JPEG with libjpeg's default, accurate transform.

    TensorFlow's default is a faster transform, which differs by 1.0 of 255 on average (5 at most).
    Pillow uses the accurate one too, so the JAX backend reads the same pixels.
    """
    import tensorflow as tf

    def parse_and_decode(record):
        encoded, label = parse(record)
        image = tf.cond(
            tf.io.is_jpeg(encoded),
            lambda: tf.io.decode_jpeg(encoded, shape[-1], dct_method="INTEGER_ACCURATE"),
            lambda: tf.io.decode_image(encoded, shape[-1], expand_animations=False),
        )
        return tf.ensure_shape(image, shape), label

    return parse_and_decode


def _in_memory(name, records, shape):
    """Reads the whole set into arrays, in parallel."""

    from lbkeras.data.pipeline import Pipeline
    from lbkeras.data.reading import reading_data

    images = np.empty((records.num_examples, *shape), np.uint8)
    labels = np.empty((records.num_examples,), np.int64)
    first = 0
    try:
        with reading_data(name):
            batches = Pipeline(records, 1024, shuffle=False).dataset()
            for image_batch, label_batch in batches.as_numpy_iterator():
                last = first + len(label_batch)
                images[first:last], labels[first:last] = image_batch, label_batch
                first = last
    except UserError as error:
        if error.key != "source":
            raise
        raise UserError(f"data set {name!r}: {error.said}") from error
    return images, labels
