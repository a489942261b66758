"""Image-classification sets of TensorFlow Datasets (TFDS) that are on disk, without a network."""

import contextlib
import difflib
import os
import re

from lbkeras.errors import UserError, one_line

# What is larger stays on disk, encoded. CIFAR-10 is 0.15 GB, SVHN with its extra images 1.9 GB.
MAX_BYTES_IN_MEMORY = 2 << 30


def load_images(name, split="train", data_dir=None, *, max_bytes=MAX_BYTES_IN_MEMORY):
    """An image-classification set of TFDS, by name, from disk.

    Args:
        name: TFDS name, `"cifar10"`, `"mnist"`, with a config or version where wanted
            (`"name/config:1.2.3"`). A set for which this TFDS has no code works from its files.
        split: as TFDS spells it: `"train"`, `"test"`, `"train[:10%]"`, `"train+test"`.
        data_dir: folder that holds `NAME/VERSION`. Default: TFDS's own (`TFDS_DATA_DIR`, else
            `~/tensorflow_datasets`).
        max_bytes: sets that decode to more than this stay on disk. Default 2 GiB.

    Returns:
        For images of one shape that fit in memory, arrays `(images, labels)` in the set's order:
        uint8 `(num_examples, height, width, channels)`, int64 `(num_examples,)`. Otherwise an
        unbatched `tf.data.Dataset` of `(encoded, label)`, string and int64 scalars, of known
        cardinality; `lbkeras.data.imagenet` decodes it.

    Raises:
        UserError: unknown set, set not on disk, unknown or empty split, no single image with a
            class label; files that are missing, too short or damaged, labels below 0 or not below
            the set's number of classes. Of a stream only the files' sizes and first records are
            read here, and the rest raises a `tf.errors.OpError` when it is. Nothing is ever
            downloaded.
    """
    builder = _find_builder(name, data_dir)
    image_key, label_key, shape = _image_and_label(name, builder)
    num_examples = _num_examples(name, builder, split)
    files = _files(name, builder, split)
    num_classes = builder.info.features[label_key].num_classes
    stream = _encoded(builder, split, image_key, label_key, num_examples)
    if None in shape or num_examples * shape[0] * shape[1] * shape[2] > max_bytes:
        _check_records(name, files, most=1)
        return _with_labels_checked(stream, num_classes)
    images, labels = _decode_all(name, stream, num_examples, shape, files)
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise UserError(
            f"data set {name!r}: expected labels from 0 to {num_classes - 1}, received {wrong[0]}"
        )
    return images, labels


def describe_images(name, data_dir=None):
    """What a prepared set says of itself: its full name with version, and its description.

    Raises:
        UserError: unknown set, or set not on disk.
    """
    info = _find_builder(name, data_dir).info
    return f"{info.full_name}. {' '.join((info.description or '').split())}".strip()


def form_of_images(name, data_dir=None):
    """The shape of a set's images, unknown sides None, and its number of classes.

    Of a set on disk as its files say it, of another as TFDS has it in its code.

    Raises:
        UserError: a set that neither knows, or as `load_images`.
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
    """The builder of a prepared set, made from its files: needs neither its code nor a network."""
    import tensorflow_datasets as tfds  # seconds to import

    from lbkeras.keras_internals.tfds import builder_from_files, default_data_dir

    folder = os.path.expanduser(data_dir or default_data_dir())
    try:
        if re.fullmatch(r"\w+(/[\w.=,+-]+)?(:[\w.*]+)?", name):
            return builder_from_files(name, folder)
    except tfds.core.DatasetNotFoundError:
        pass
    except Exception as error:  # a damaged file can be anything to those who parse it
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
            f"`tfds build {name} --data_dir {folder}`, or name its folder with data_dir."
        )
    nearest = difflib.get_close_matches(base_name, sorted({*known, *on_disk}), n=3)
    hint = (
        f"did you mean {' or '.join(map(repr, nearest))}?"
        if nearest
        else "see tfds.list_builders()."
    )
    raise UserError(f"unknown data set {name!r}, neither in TFDS nor in {folder!r}: {hint}")


def _folders(folder):
    if not os.path.isdir(folder):
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def _image_and_label(name, builder):
    """`(image_key, label_key, image_shape)`; unknown sides of the shape are None."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    pairs = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    images = [k for k, f in pairs.items() if type(f) is tfds.features.Image]
    labels = [k for k, f in pairs.items() if type(f) is tfds.features.ClassLabel]
    supervised = builder.info.supervised_keys
    if supervised and supervised[0] in images and supervised[1] in labels:
        images, labels = [supervised[0]], [supervised[1]]
    if len(images) != 1 or len(labels) != 1 or pairs[images[0]].np_dtype != "uint8":
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
        raise UserError(
            f"data set {name!r}: unknown split {split!r}; expected one of "
            f"{', '.join(builder.info.splits)} or a part of one, like 'train[:10%]'."
        ) from error
    if not num_examples:
        raise UserError(f"data set {name!r}: split {split!r} is empty.")
    return num_examples


def _files(name, builder, split):
    """The files that a split is read from; refuses missing ones and those of too few bytes."""
    files = {instruction.filename for instruction in builder.info.splits[split].file_instructions}
    for file in sorted(files):
        if not os.path.isfile(file):
            raise UserError(f"data set {name!r}: expected the file {file!r}, received none")
    for whole in builder.info.splits.values():
        shards = [os.fspath(path) for path in whole.filepaths]
        if not files.intersection(shards) or not all(map(os.path.isfile, shards)):
            continue
        size, least = sum(map(os.path.getsize, shards)), int(whole.num_bytes or 0)
        if size < least:
            where = repr(shards[0]) if len(shards) == 1 else f"the {len(shards)} files"
            raise UserError(
                f"data set {name!r}: expected at least {least:,} bytes in {where} of split "
                f"{whole.name!r}, received {size:,}"
            )
    return sorted(files)


def _check_records(name, files, most=-1):
    """Reads the first `most` records of each file; refuses the first file where that fails."""
    import tensorflow as tf

    from lbkeras.data.reading import reason

    options = tf.data.Options()
    options.autotune.enabled = False
    for file in files:
        try:
            records = tf.data.TFRecordDataset(file).take(most).with_options(options)
            number = sum(1 for _ in records.batch(1024))
        except tf.errors.OpError as error:
            raise UserError(
                f"data set {name!r}: expected records in {file!r}, received {reason(error)}"
            ) from error
        if not number:
            raise UserError(f"data set {name!r}: expected records in {file!r}, received none")


def _encoded(builder, split, image_key, label_key, num_examples):
    """An unbatched dataset of (encoded image, label), in the order of the files."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    options = tf.data.Options()
    options.autotune.enabled = False  # stalls when an iterator is released, tensorflow 2.21
    features = tfds.decode.PartialDecoding(
        {image_key: True, label_key: True}, decoders={image_key: tfds.decode.SkipDecoding()}
    )
    with _without_warnings():  # PartialDecoding asks TFDS' own features what it deprecated
        dataset = builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders=features,
            read_config=tfds.ReadConfig(
                options=options,
                try_autocache=False,
                skip_prefetch=True,
                interleave_cycle_length=1,
                num_parallel_calls_for_decode=os.cpu_count(),
                num_parallel_calls_for_interleave_files=1,
            ),
        )
    dataset = dataset.map(
        lambda example: (example[image_key], example[label_key]),
        num_parallel_calls=os.cpu_count(),
    )
    return dataset.apply(tf.data.experimental.assert_cardinality(num_examples))


def _with_labels_checked(stream, num_classes):
    import tensorflow as tf

    def checked(image, label):
        known = tf.debugging.Assert(
            (label >= 0) & (label < num_classes),
            [f"expected labels from 0 to {num_classes - 1}, received", label],
        )
        with tf.control_dependencies([known]):
            return image, tf.identity(label)

    return stream.map(checked, num_parallel_calls=os.cpu_count())


@contextlib.contextmanager
def _without_warnings():
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _decode_all(name, stream, num_examples, shape, files):
    """The whole set as arrays, decoded in parallel."""
    import numpy as np
    import tensorflow as tf

    from lbkeras.data.reading import error_of_data

    def decode(encoded, label):
        image = tf.io.decode_image(encoded, channels=shape[-1], expand_animations=False)
        return tf.ensure_shape(image, shape), label

    images = np.empty((num_examples, *shape), np.uint8)
    labels = np.empty((num_examples,), np.int64)
    batches = stream.map(decode, num_parallel_calls=os.cpu_count()).batch(1024).prefetch(2)
    first = 0
    try:
        for image_batch, label_batch in batches.as_numpy_iterator():
            last = first + len(label_batch)
            images[first:last], labels[first:last] = image_batch, label_batch
            first = last
    except tf.errors.OpError as error:
        _check_records(name, files)  # names the file, where it is one of records
        raise (error_of_data(name, error) or error) from error
    return images, labels
