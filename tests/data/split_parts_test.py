import itertools

import pytest
import tensorflow_datasets as tfds

from lbkeras.data.file_parts import SplitFiles
from lbkeras.data.split_parts import rows_of

LENGTHS = {"train": [7, 0, 5, 11], "test": [3], "all_of_it": [2]}
EDGES = ["", "0", "1", "4", "23", "24", "-3", "-23", "50%", "-12.5%", "33%", "100%", "101%", "1.5"]
EDGES += ["1shard", "-1shard", "0shard", "9shard", "1_0", "x%"]
SPECS = [f"train[{begin}:{end}]" for begin, end in itertools.product(EDGES, EDGES)]
SPECS += ["train", "test[:2] +train[-1:]", "all", "all[:1]", "train[2shard]", "train[2]", "valid"]
SPECS += ["", "train+", "train[1:2:3]", "train[:50%]+test", "all_of_it[1:]", "train[]", "-1:]"]


@pytest.fixture(scope="module")
def of_tfds():
    """TFDS' splits of the same files."""
    template = tfds.core.ShardedFileTemplate(
        data_dir="/data", dataset_name="made", filetype_suffix="tfrecord"
    )
    return tfds.core.SplitDict(
        tfds.core.SplitInfo(
            name=name,
            shard_lengths=lengths,
            num_bytes=0,
            filename_template=template.replace(split=name),
        )
        for name, lengths in LENGTHS.items()
    )


def files(name):
    number = len(LENGTHS[name])
    paths = [f"/data/made-{name}.tfrecord-{i:05}-of-{number:05}" for i in range(number)]
    return SplitFiles(name, paths, LENGTHS[name], 0)


def test_the_same_rows_as_tfds(of_tfds):
    refused = 0
    for spec in SPECS:
        try:
            expected = [
                (part.filename, part.skip, part.take, part.examples_in_shard)
                for part in of_tfds[spec].file_instructions
                if part.take > 0  # TFDS takes -3 examples of "train[4:1]"
            ]
        except Exception:
            refused += 1
            with pytest.raises(ValueError):
                rows_of(spec, LENGTHS)
            continue
        rows = rows_of(spec, LENGTHS)
        received = [tuple(part) for name, *edges in rows for part in files(name).parts(*edges)]
        assert received == expected, spec
    assert 50 < refused < len(SPECS) - 100
