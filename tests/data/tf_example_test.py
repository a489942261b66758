import numpy as np
import pytest
import tensorflow as tf

from lbkeras.data.tf_example import image_and_label


def serialized(**features):
    kinds = {
        bytes: lambda values: tf.train.Feature(bytes_list=tf.train.BytesList(value=values)),
        int: lambda values: tf.train.Feature(int64_list=tf.train.Int64List(value=values)),
        float: lambda values: tf.train.Feature(float_list=tf.train.FloatList(value=values)),
    }
    made = {key: kinds[type(values[0])](values) for key, values in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def test_examples_that_tensorflow_wrote():
    parse = image_and_label("image", "label", 1 << 40)
    random = np.random.default_rng(0)
    for length in (0, 1, 127, 128, 70_000):
        image, label = random.bytes(length), int(random.integers(1 << 40))
        others = dict(id=[b"train_1"], boxes=[0.25, 0.5], sizes=[3, -4])
        record = serialized(image=[image], label=[label], **others)
        assert parse(record) == (image, label)


@pytest.mark.parametrize(
    "features, said",
    [
        (dict(image=[b""], label=[3]), "expected labels from 0 to 2, received 3"),
        (dict(image=[b""], label=[-1]), "expected labels from 0 to 2, received -1"),
        (dict(image=[b""], label=[1, 2]), "one image 'image' and one label .*, received 1 and 2"),
        (dict(label=[1]), "expected one image 'image' .*, received 0 and 1"),
        (dict(image=[b""], label=[1.0]), "received 1 and 0"),
    ],
)
def test_other_examples_are_refused(features, said):
    with pytest.raises(ValueError, match=said):
        image_and_label("image", "label", 3)(serialized(**features))


def test_other_bytes_are_refused():
    with pytest.raises(ValueError, match=r"expected a serialized tf\.train\.Example"):
        image_and_label("image", "label", 3)(b"\xff" * 9)
