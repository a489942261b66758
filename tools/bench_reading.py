"""Runs `bench_data.py --part=reading`: data sets read from files, by lbkeras and by `tfds.load`.

The files are in the page cache, so that the work of the processors is measured. `tfds.load` runs
with its defaults (files shuffled and interleaved, the autotuner on), a shuffle buffer and the same
decoding.
"""

import itertools
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds
from interleaved import measure, report
from make_small_imagenet import make_small_imagenet

from lbkeras.data import Pipeline, images
from lbkeras.data.imagenet import random_resized_crop
from lbkeras.data.order import epoch_order, order_of_shards
from lbkeras.data.replica_shard import ReplicaShard
from lbkeras.data.tfrecord_index import lengths_in

NAME, SEED = "imagenet2012", 0
BUFFER = 1024  # examples in the shuffle buffer of tfds.load
KINDS = {
    "photographs": dict(width=500, height=375, shards=16),
    "small": dict(width=28, height=28, shards=16),
}
SIDES = {"photographs": 224, "small": 28}
OURS = {"ours, any order": True, 'ours, "shards"': "shards"}
THEIRS = "tfds.load"


class Reading:
    """A synthetic data set, and the ways to read it."""

    def __init__(self, folder: str, kind: str, batch_size: int, decoded: bool):
        self.folder, self.batch_size = folder, batch_size
        self.source = images.load_images(NAME, "train", folder)
        self.decode = random_resized_crop(SIDES[kind]) if decoded else None
        self.steps = self.source.num_examples // batch_size

    def pipeline(self, shuffle=True) -> Pipeline:
        # A window of an eighth of the data set.
        size = self.source.num_examples * (self.source.bytes_each + 64) // 4
        return Pipeline(
            self.source,
            self.batch_size,
            shuffle=shuffle,
            decode=self.decode,
            shuffle_bytes=int(size),
        )

    def of_tfds(self, skip: int = 0) -> tf.data.Dataset:
        data = tfds.load(
            NAME,
            split="train",
            data_dir=self.folder,
            shuffle_files=True,
            decoders={"image": tfds.decode.SkipDecoding()},
        )
        data = data.shuffle(BUFFER).skip(skip * self.batch_size)
        if self.decode:
            data = tf.data.Dataset.zip(data, tf.data.Dataset.counter()).map(
                lambda each, number: self.decode(
                    (each["image"], each["label"]), tf.cast(tf.stack([number, 0]), tf.int32)
                ),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        batches = data.batch(self.batch_size, drop_remainder=True)
        return batches.prefetch(tf.data.AUTOTUNE)

    def ways(self) -> dict:
        """Returns functions `(epoch, start) -> batches` by name."""
        ways = {name: self.pipeline(shuffle).dataset for name, shuffle in OURS.items()}
        return ways | {THEIRS: lambda epoch, start: self.of_tfds(start)}


def benchmark_reading(arguments) -> dict:
    tables = {}
    with tempfile.TemporaryDirectory() as made:
        for kind, form in KINDS.items():
            folder = Path(arguments.data_dir or made, kind)
            if not folder.is_dir():
                number = arguments.num_jpegs if kind == "photographs" else arguments.num_small
                make_small_imagenet(folder, number, 10, plain=True, **form)
            tables[kind] = of_a_kind(str(folder), kind, arguments)
    tables["order of 1,281,167 examples"] = order_times(arguments.rounds)
    return tables


def of_a_kind(folder: str, kind: str, arguments) -> dict:
    """Measures everything for one synthetic data set."""
    table, side = {}, SIDES[kind]
    for title, decoded in (("read only", False), (f"cropped to {side}x{side}", True)):
        reading = Reading(folder, kind, arguments.batch_size, decoded)
        ways = {name: one_pass(way) for name, way in reading.ways().items()}
        rates = measure(ways, reading.steps * reading.batch_size, arguments.rounds)
        size = reading.source.bytes_each
        head = f"{kind}, {reading.source.num_examples:,} records of {size:,.0f} bytes, {title}"
        table[title] = report(head, rates)
    table["first batch"] = first_batches(reading, arguments.rounds)
    table["memory"] = memory(folder, kind, reading)
    table["two workers"] = bytes_of_workers(reading)
    table["index"] = index(reading, arguments.rounds)
    return table


def one_pass(way):
    epochs = itertools.count()

    def run():
        for _ in way(next(epochs), 0):
            pass

    return run


def first_batches(reading: Reading, rounds: int) -> dict:
    """Measures the seconds to the first batch of passes that start inside the epoch."""
    places = (0, 0.1, 0.5, 0.9)
    seconds = {name: {place: [] for place in places} for name in reading.ways()}
    for epoch in range(rounds + 1):
        for place in places:
            for name, way in reading.ways().items():
                begin = time.perf_counter()
                next(iter(way(epoch, int(place * reading.steps))))
                if epoch:
                    seconds[name][place].append(time.perf_counter() - begin)
    print("\nms to the first batch of a pass that starts at")
    print(f"{'':34}" + "".join(f"{place:>10.0%}" for place in places))
    table = {}
    for name, times in seconds.items():
        table[name] = {place: statistics.median(each) for place, each in times.items()}
        print(f"{name:34}" + "".join(f"{1000 * each:10,.0f}" for each in table[name].values()))
    return table


def memory(folder: str, kind: str, reading: Reading) -> dict:
    """Measures the growth of a process' peak resident memory in two passes, in MB."""
    table = {}
    print(f"\n{'growth of the peak memory, two passes':34}{'MB':>10}")
    for name in reading.ways():
        program = (
            f"import bench_reading as b; b.print_growth{folder, kind, reading.batch_size, name}"
        )
        path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        table[name] = float(done.stdout.split()[-1])
        print(f"{name:34}{table[name]:10,.0f}")
    size = reading.source.num_examples * reading.source.bytes_each / 1e6
    print(f"{'(the records)':34}{size:10,.0f}")
    return table


def print_growth(folder: str, kind: str, batch_size: int, name: str) -> None:
    reading = Reading(folder, kind, batch_size, decoded=True)
    way = reading.ways()[name]
    next(iter(way(0, 0)))  # leaves out the memory that TensorFlow needs in any case
    before = peak_memory()
    for epoch in (1, 2):
        for _ in way(epoch, 0):
            pass
    print(peak_memory() - before)


def peak_memory() -> float:
    """Returns this process' peak in MB; `getrusage` would include its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1000


def bytes_of_workers(reading: Reading) -> dict:
    """Measures the bytes that one and each of two workers read of an epoch, over all records'."""
    whole = reading.source.num_examples * reading.source.bytes_each
    table = {}
    print(f"\n{'bytes read, of those of all records':34}{'alone':>10}{'1 of 2':>10}{'2 of 2':>10}")
    for name, shuffle in OURS.items():
        shares = []
        for shard in (ReplicaShard(), ReplicaShard(2, 2, 0), ReplicaShard(2, 2, 1)):
            batches = reading.pipeline(shuffle)._epoch_dataset(0, 0, shard)
            before = bytes_read()
            for _ in batches:
                pass
            shares.append((bytes_read() - before) / whole)
        table[name] = shares
        print(f"{name:34}" + "".join(f"{share:10.1%}" for share in shares))
    return table


def bytes_read() -> int:
    """Returns the bytes that this process has read so far, including from the page cache."""
    return int(Path("/proc/self/io").read_text().split()[1])


def index(reading: Reading, rounds: int) -> dict:
    """Measures the seconds to index the data set's files, without a cached index."""
    files = sorted(Path(reading.folder, NAME, "5.1.0").glob("*-train.*"))
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for file in files:
            lengths_in(str(file), NAME)
        seconds.append(time.perf_counter() - begin)
    per_million = statistics.median(seconds) * 1e6 / reading.source.num_examples
    print(f"\nindex: {per_million:.1f} s per million records, one thread")
    return {"seconds_per_million": per_million}


def order_times(rounds: int) -> dict:
    """Measures the seconds to compute the order of an epoch of ImageNet."""
    number, files = 1_281_167, 1024
    sizes = [number // files + (file < number % files) for file in range(files)]
    table = {}
    for name, order in {
        "any order": lambda epoch: epoch_order(number, SEED, epoch),
        '"shards", windows of 4,096': lambda epoch: order_of_shards(sizes, SEED, epoch, 4096),
    }.items():
        seconds = []
        for epoch in range(rounds):
            begin = time.perf_counter()
            order(epoch)
            seconds.append(time.perf_counter() - begin)
        table[name] = statistics.median(seconds)
        print(f"\norder of {number:,} examples, {name}: {1000 * table[name]:.0f} ms")
    return table
