"""Measures the throughput of augmentation, decoding and reading: lbkeras and the usual ways.

    python tools/bench_data.py [--part=augmentation|jpeg|reading] [--json=FILE]

All contestants deliver the same output from the same data. They run in turn in every round, so that
a busy machine slows all of them alike, and are reported as medians. The data are synthetic, as
content does not affect throughput. In the parts augmentation and jpeg, tf.data's autotuner is off
for all and the parallelism is --parallelism. Keras' RandomCrop has the easier task: it draws one
offset per batch, not one per image. `bench_reading.py` describes the part reading.
"""

import argparse
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from interleaved import measure, report

from lbkeras.data import augmentation, imagenet

MEAN, DEVIATION = np.float32([125.3, 123.0, 113.9]), np.float32([63.0, 62.1, 66.7])
PADDING = 4


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["augmentation", "jpeg", "reading", "all"], default="all")
    parser.add_argument("--rounds", type=int, default=7, help="rounds after a warm-up round")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--num_images", type=int, default=12800, help="CIFAR images per pass")
    parser.add_argument("--num_jpegs", type=int, default=1024, help="JPEGs decoded per pass")
    parser.add_argument("--num_small", type=int, default=16384, help="28x28 records read per pass")
    parser.add_argument("--data_dir", help="folder to make and keep the data sets in")
    parser.add_argument("--parallelism", type=int, default=os.cpu_count(), help="default: all CPUs")
    parser.add_argument("--json", metavar="FILE", help="also write the results to this file")
    arguments = parser.parse_args()

    results = {}
    if arguments.part in ("augmentation", "all"):
        results["augmentation"] = benchmark_augmentation(arguments)
    if arguments.part in ("jpeg", "all"):
        results["jpeg"] = benchmark_jpeg(arguments)
    if arguments.part in ("reading", "all"):
        from bench_reading import benchmark_reading

        results["reading"] = benchmark_reading(arguments)
    if arguments.json:
        settings = {**vars(arguments), "tensorflow": tf.__version__, "keras": keras.__version__}
        settings["num_cpus"] = os.cpu_count()
        with open(arguments.json, "w") as file:
            json.dump({"settings": settings, "results": results}, file, indent=2)


def benchmark_augmentation(arguments):
    """Pads by 4, crops and mirrors 32x32x3; to uint8, and normalized to float32 on the host."""
    batch_size = arguments.batch_size
    num_images = arguments.num_images // batch_size * batch_size
    images = np.random.default_rng(0).integers(0, 256, (num_images, 32, 32, 3), dtype=np.uint8)
    source = tf.constant(images)
    augment = augmentation.random_crop_flip(PADDING)
    crop = keras.layers.RandomCrop(32, 32, seed=1, dtype="uint8")
    keras_layers = [
        keras.layers.ZeroPadding2D(PADDING, dtype="uint8"),
        crop,
        keras.layers.RandomFlip("horizontal", seed=2, dtype="uint8"),
    ]

    def one_image(image, seed):
        padded = tf.pad(image, [[PADDING, PADDING], [PADDING, PADDING], [0, 0]])
        image = tf.image.stateless_random_crop(padded, [32, 32, 3], seed)
        return tf.image.stateless_random_flip_left_right(image, seed + 1)

    def through_keras(batch):
        for layer in keras_layers:
            batch = layer(batch, training=True)
        return tf.cast(batch, tf.uint8)

    def normalize(x):
        return (tf.cast(x, tf.float32) - MEAN) / DEVIATION

    def batches():
        starts = tf.data.Dataset.range(0, num_images, batch_size)
        return starts.map(
            lambda i: (
                seed_of(i),
                tf.ensure_shape(source[i : i + batch_size], [batch_size, 32, 32, 3]),
            ),
            num_parallel_calls=arguments.parallelism,
        )

    def ours(finish=lambda x: x):
        return batches().map(
            lambda seed, x: finish(augment(x, seed)), num_parallel_calls=arguments.parallelism
        )

    def image_at_a_time(finish=lambda x: x):
        dataset = tf.data.Dataset.from_tensor_slices(source).enumerate()
        return dataset.map(
            lambda i, x: finish(one_image(x, seed_of(i))), num_parallel_calls=arguments.parallelism
        ).batch(batch_size, drop_remainder=True)

    def keras_map(finish=lambda x: x):
        return batches().map(
            lambda seed, x: finish(through_keras(x)), num_parallel_calls=arguments.parallelism
        )

    def numpy_pass(finish=lambda x: x):
        generator = np.random.default_rng(0)
        for start in range(0, num_images, batch_size):
            finish(numpy_crop_flip(images[start : start + batch_size], generator))

    def run_numpy_float():
        numpy_pass(lambda x: (x.astype(np.float32) - MEAN) / DEVIATION)

    tables = {}
    for title, finish, run_numpy in (
        ("uint8 out", lambda x: x, numpy_pass),
        ("float32 normalized on the host", normalize, run_numpy_float),
    ):
        contestants = {
            "ours, a batch at a time": consumer(ours(finish)),
            "image at a time": consumer(image_at_a_time(finish)),
            "Keras layers, a batch at a time": consumer(keras_map(finish)),
            "NumPy loop, one thread": run_numpy,
        }
        rates = measure(contestants, num_images, arguments.rounds)
        tables[title] = report(f"CIFAR crop and flip, {title}, batch {batch_size}", rates)
    return tables


def benchmark_jpeg(arguments):
    """Decodes 400x300 JPEGs to random resized crops of 224x224, uint8."""
    encoded = tf.constant(synthetic_jpegs(64))
    ours = imagenet.random_resized_crop(224)
    usual = decode_then_crop(224)
    dataset = tf.data.Dataset.range(arguments.num_jpegs).map(
        lambda i: (seed_of(i), encoded[i % 64]), num_parallel_calls=arguments.parallelism
    )

    def pipeline(decode):
        mapped = dataset.map(
            lambda seed, jpeg: decode((jpeg, 0), seed)[0], num_parallel_calls=arguments.parallelism
        )
        return consumer(mapped.batch(32, drop_remainder=True))

    contestants = {"ours, decode_and_crop": pipeline(ours), "decode, then crop": pipeline(usual)}
    rates = measure(contestants, arguments.num_jpegs // 32 * 32, arguments.rounds)
    return {"224x224 uint8": report("JPEG 400x300, random resized crop to 224", rates)}


def decode_then_crop(size):
    """Returns a function that makes the crops of `random_resized_crop` from whole images."""

    def decode(element, seed):
        encoded, label = element
        seeds = tf.random.split(seed, 2)
        image = tf.io.decode_jpeg(encoded, channels=3)
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(image),
            tf.zeros([1, 0, 4]),
            seeds[0],
            min_object_covered=0.0,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        image = tf.image.resize(tf.slice(image, begin, extent), [size, size])
        image = tf.cast(tf.round(image), tf.uint8)
        return tf.image.stateless_random_flip_left_right(image, seeds[1]), label

    return decode


def synthetic_jpegs(count):
    """Returns JPEGs of smooth noise, 400 x 300, quality 90, about as large as photographs."""
    generator = np.random.default_rng(0)
    coarse = generator.uniform(0, 255, (count, 38, 50, 3)).astype(np.float32)
    smooth = tf.image.resize(coarse, [300, 400], method="bicubic")
    smooth += generator.normal(0, 4, (count, 300, 400, 3)).astype(np.float32)
    images = tf.cast(tf.clip_by_value(smooth, 0, 255), tf.uint8)
    return [tf.io.encode_jpeg(image, quality=90).numpy() for image in images]


def numpy_crop_flip(images, generator):
    """Applies the same augmentation with one slice per image."""
    padded = np.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    offsets = generator.integers(0, 2 * PADDING + 1, (len(images), 2)).tolist()
    mirrored = generator.integers(0, 2, len(images)).tolist()
    out = np.empty_like(images)
    for i, (row, column) in enumerate(offsets):
        crop = padded[i, row : row + 32, column : column + 32]
        out[i] = crop[:, ::-1] if mirrored[i] else crop
    return out


def seed_of(i):
    return tf.cast(tf.stack([tf.cast(i, tf.int64), 1]), tf.int32)


def consumer(dataset):
    """Returns a function that reads a dataset to its end, without the autotuner."""
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = dataset.prefetch(2).with_options(options)

    def run():
        for _ in dataset:
            pass

    return run


if __name__ == "__main__":
    main()
