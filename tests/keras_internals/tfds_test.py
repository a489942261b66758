import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from lbkeras.keras_internals.tfds import builder_from_files, default_data_dir


def test_the_default_folder():
    assert os.path.basename(default_data_dir()) == "tensorflow_datasets"


def test_a_set_is_read_from_its_files_alone(tmp_path):
    labels = np.array([0, 2, 1])
    tfds.dataset_builders.store_as_tfds_dataset(
        name="unheard_of",
        version="1.2.0",
        data_dir=tmp_path,
        features=tfds.features.FeaturesDict({"label": tfds.features.ClassLabel(num_classes=3)}),
        split_datasets={"train": tf.data.Dataset.from_tensor_slices({"label": labels})},
    )
    builder = builder_from_files("unheard_of", str(tmp_path))
    assert builder.info.full_name == "unheard_of/1.2.0"
    read = [int(row["label"]) for row in builder.as_dataset(split="train")]
    assert sorted(read) == sorted(labels)
    with pytest.raises(tfds.core.DatasetNotFoundError):
        builder_from_files("not_there", str(tmp_path))
