"""Makes a small ImageNet with synthetic pictures, in the layout of TensorFlow Datasets.

    python tools/make_small_imagenet.py DATA_DIR [--examples=2000] [--file_format=array_record]

`lbkeras.data.load("imagenet2012", data_dir=DATA_DIR)` and `tfds.load` can then read it, and so can
an ImageNet config with `data.num_examples` set to its number of examples. A picture has stripes;
their two colors and direction show its class, one of 1,000, also in crops and mirror images. At the
default size a JPEG has 95 kB on average, ImageNet's have 110 kB. A few pictures of each split are
unusual, as in large data sets: gray, CMYK, a PNG named JPEG, one pixel thin, very large,
progressive (`--plain` leaves them out). The same arguments give the same bytes.
"""

import argparse
import colorsys
import io
from pathlib import Path

import numpy as np
from PIL import Image

NAME, VERSION = "imagenet2012", "5.1.0"
CLASSES = 1000


class _HelpWithDefaults(
    argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter
):
    pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_HelpWithDefaults)
    parser.add_argument("data_dir", help="folder to write imagenet2012/VERSION in")
    parser.add_argument("--examples", type=int, default=2000, help="examples of train")
    parser.add_argument("--validation", type=int, default=200, help="examples of validation")
    parser.add_argument("--shards", type=int, default=8, help="files of train; validation: half")
    parser.add_argument("--width", type=int, default=500, help="in pixels; sizes are around it")
    parser.add_argument("--height", type=int, default=375, help="in pixels; sizes are around it")
    parser.add_argument(
        "--pictures",
        type=int,
        default=1000,
        help="most different pictures per split; further examples repeat them",
    )
    parser.add_argument("--classes", type=int, default=CLASSES, help="classes with pictures")
    parser.add_argument("--plain", action="store_true", help="no unusual pictures")
    parser.add_argument(
        "--file_format",
        choices=["tfrecord", "array_record"],
        default="tfrecord",
        help="format of the files",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the pictures")
    arguments = vars(parser.parse_args())
    print(make_small_imagenet(arguments.pop("data_dir"), **arguments))


def make_small_imagenet(
    data_dir,
    examples=2000,
    validation=200,
    *,
    shards=8,
    width=500,
    height=375,
    pictures=1000,
    classes=CLASSES,
    plain=False,
    file_format="tfrecord",
    seed=0,
):
    """Writes the data set and returns its folder, `DATA_DIR/imagenet2012/5.1.0`.

    The arguments are those of the command line.
    """
    import tensorflow_datasets as tfds

    folder = Path(data_dir, NAME, VERSION)
    folder.mkdir(parents=True, exist_ok=True)
    splits = []
    for split, number, files in (
        ("train", examples, shards),
        ("validation", validation, (shards + 1) // 2),
    ):
        generator = np.random.default_rng([seed, len(splits)])
        made = _made_pictures(generator, min(number, pictures), classes, width, height, plain)
        # Uses each picture equally often, in an order that does not depend on class or kind.
        order = generator.permutation(number) % len(made)
        template = tfds.core.ShardedFileTemplate(
            data_dir=folder, dataset_name=NAME, split=split, filetype_suffix=file_format
        )
        lengths, num_bytes = [], 0
        for index, part in enumerate(np.array_split(order, files)):
            path = template.sharded_filepath(shard_index=index, num_shards=files)
            records = (
                _record(*made[picture], f"{split}_{index}_{place}.JPEG")
                for place, picture in enumerate(part)
            )
            num_bytes += _write(str(path), records, file_format)
            lengths.append(len(part))
        splits.append(
            tfds.core.SplitInfo(
                name=split, shard_lengths=lengths, num_bytes=num_bytes, filename_template=template
            )
        )
    names = tfds.core.tfds_path("datasets/imagenet2012/labels.txt")
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features={
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names_file=names),
            "file_name": tfds.features.Text(),
        },
        split_infos=splits,
        supervised_keys=("image", "label"),
        description="Made pictures in the layout of ImageNet 2012; none of them is of ImageNet.",
        check_data=False,
    )
    return folder


def _write(path, records, file_format) -> int:
    """Writes a file and returns the bytes of its records."""
    if file_format == "array_record":
        from array_record.python.array_record_module import ArrayRecordWriter

        writer = ArrayRecordWriter(path, "group_size:1")
    else:
        import tensorflow as tf

        writer = tf.io.TFRecordWriter(path)
    size = 0
    for record in records:
        writer.write(record)
        size += len(record)
    writer.close()
    return size


def _record(encoded, label, file_name) -> bytes:
    import tensorflow as tf

    features = tf.train.Features(
        feature={
            "file_name": tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[file_name.encode()])
            ),
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        }
    )
    return tf.train.Example(features=features).SerializeToString(deterministic=True)


def _made_pictures(generator, number, classes, width, height, plain):
    """Returns `(encoded, label)` of different pictures, whose labels take turns."""
    labels = generator.permutation(CLASSES)[: min(classes, CLASSES)]
    noise = _noise(generator, 2 * height, 2 * width)
    # Half have the usual size, mostly horizontal, some vertical; the others have sizes around it.
    sides = np.array([(width, height), (height, width)])[generator.integers(0, 4, number) // 3]
    usual = generator.integers(0, 2, number)[:, None]
    sides = np.where(usual, sides, sides * generator.uniform(0.6, 1.4, (number, 2)))
    sides = np.maximum(1, sides.round().astype(int))
    kinds = [_plain] * number
    if not plain:
        kinds[: len(_ODD)] = _ODD[:number]
        for place, each in ((3, (width, 1)), (4, (1, height)), (5, (5 * width, 5 * height))):
            if place < number:
                sides[place] = each
    return [
        (kind(_pixels(generator, label, *side, noise)), int(label))
        for kind, side, label in zip(kinds, sides, np.resize(labels, number), strict=True)
    ]


def _pixels(generator, label, width, height, noise):
    """Returns stripes in two colors; hues a and b and direction c give class 100 a + 10 b + c."""
    first, second, direction = label // 100, label // 10 % 10, label % 10
    colors = [
        colorsys.hsv_to_rgb(hue / 10, 0.6, value)
        for hue, value in ((first, 0.85), (second + 0.5, 0.45))
    ]
    angle = np.pi / 2 * direction / 9  # 0 to 90 degrees, so no mirror image shows another class
    phase, stripes = generator.uniform(0, 2 * np.pi), generator.uniform(4, 7)
    frequency = 2 * np.pi * stripes / max(width, height)
    across = np.arange(width, dtype=np.float32) * np.float32(frequency * np.cos(angle))
    down = np.arange(height, dtype=np.float32) * np.float32(frequency * np.sin(angle))
    wave = np.sin(down[:, None] + across + np.float32(phase)) / 2 + np.float32(0.5)
    light, dark = np.float32(colors)
    row, column = generator.integers(0, noise.shape[:2])
    noise = noise.take(np.arange(row, row + height), 0, mode="wrap")
    noise = noise.take(np.arange(column, column + width), 1, mode="wrap")
    pixels = (dark + wave[:, :, None] * (light - dark)) * np.float32(255) + noise
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _noise(generator, height, width):
    """Returns noise that makes a picture's JPEG as large as a photograph's."""
    return generator.normal(0, 19, (height, width, 3)).astype(np.float32)


def _encoded(image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, **{"format": "JPEG", "quality": 90, **options})
    return file.getvalue()


def _plain(pixels):
    return _encoded(Image.fromarray(pixels))


def _gray(pixels):
    return _encoded(Image.fromarray(pixels).convert("L"))


def _cmyk(pixels):
    return _encoded(Image.fromarray(pixels).convert("CMYK"))


def _png(pixels):
    return _encoded(Image.fromarray(pixels), format="PNG")


def _progressive(pixels):
    return _encoded(Image.fromarray(pixels), progressive=True)


_ODD = [_gray, _cmyk, _png, _plain, _plain, _plain, _progressive]  # plain: of unusual size


if __name__ == "__main__":
    main()
