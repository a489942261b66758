"""A set on disk gives the same batches as its arrays, bit for bit, in every pass."""

import numpy as np
import pytest
import tensorflow as tf

from lbkeras.callbacks import BatchSizeScheduler
from lbkeras.data import Pipeline, imagenet
from lbkeras.data.images import load_images
from lbkeras.data.order import epoch_order, step_seeds
from tests.data.examples import Items
from tests.data.images_test import real_data

GRAY, PHOTOGRAPHS = 53, 21


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Sets "gray", PNGs of one size, and "photographs", JPEGs of many; "_array": as ArrayRecord."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    random = np.random.default_rng(0)
    sets = {
        "gray": ((7, 6, 1), "png", [(7, 6, 1)] * GRAY),
        "photographs": ((None, None, 3), "jpeg", [(20 + i, 40 - i, 3) for i in range(PHOTOGRAPHS)]),
    }
    for name, (shape, encoding, shapes) in sets.items():
        rows = [
            {"image": random.integers(0, 256, each, np.uint8), "label": number % 5}
            for number, each in enumerate(shapes)
        ]
        image = tfds.features.Image(shape=shape, encoding_format=encoding)
        label = tfds.features.ClassLabel(num_classes=5)
        for form in ("tfrecord", "array_record"):
            tfds.dataset_builders.store_as_tfds_dataset(
                name=name if form == "tfrecord" else f"{name}_array",
                version="1.0.0",
                features=tfds.features.FeaturesDict({"image": image, "label": label}),
                split_datasets={"train": list(enumerate(rows)), "test": list(enumerate(rows))[:9]},
                data_dir=folder,
                file_format=form,
                disable_shuffling=True,
            )
    return str(folder)


def decode_gray(example, seed):
    encoded, label = example
    return tf.ensure_shape(tf.io.decode_png(encoded, channels=1), (7, 6, 1)), label


def noise(x, seed):
    return tf.cast(x, tf.float32) + tf.random.stateless_uniform(tf.shape(x), seed)


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for each, expected in zip(ours, theirs, strict=True):
        for part, expected_part in zip(each, expected, strict=True):
            np.testing.assert_array_equal(part, expected_part)


def batches(pipeline, *place):
    return list(pipeline.dataset(*place).as_numpy_iterator())


@pytest.mark.parametrize(
    "name, split, number",
    [
        ("gray", "train[:40%]+test[3:]", 27),
        pytest.param("gray", "train", GRAY, marks=pytest.mark.release),
        pytest.param("gray_array", "train", GRAY, marks=pytest.mark.release),
        pytest.param("gray_array", "train[:40%]+test[3:]", 27, marks=pytest.mark.release),
    ],
)
def test_the_batches_are_those_of_arrays(data_dir, name, split, number):
    """In two epochs, the second with another batch size and from its middle; in evaluation."""
    arrays = load_images(name, split, data_dir)
    records = load_images(name, split, data_dir, max_bytes=0)
    assert records.num_examples == number and sum(records.shards) == number
    more = dict(seed=4, augment=noise)
    theirs, ours = Pipeline(arrays, 8, **more), Pipeline(records, 8, decode=decode_gray, **more)
    for size, place in ((8, (3,)), (5, (4, 2))):
        theirs.batch_size = ours.batch_size = size
        assert_same(batches(ours, *place), batches(theirs, *place))
    assert_same(batches(ours.in_order(8, 11)), batches(theirs.in_order(8, 11)))


@pytest.mark.parametrize(
    "name", ["photographs", pytest.param("photographs_array", marks=pytest.mark.release)]
)
def test_random_crops_of_photographs_depend_on_their_places(data_dir, name):
    records = load_images(name, "train", data_dir)
    encoded, labels = zip(*records.first(PHOTOGRAPHS).as_numpy_iterator(), strict=True)
    assert list(labels) == [number % 5 for number in range(PHOTOGRAPHS)]
    decode = imagenet.random_resized_crop(16)
    train = Pipeline(records, 4, decode=decode, seed=2)
    order, (seed, _) = epoch_order(PHOTOGRAPHS, 2, 1), step_seeds(2, 1, 1)[0]
    expected = [
        decode((encoded[i], labels[i]), (seed, place)) for place, i in list(enumerate(order))[8:20]
    ]
    found = [row for batch in batches(train, 1, 2) for row in zip(*batch, strict=True)]
    assert_same(found, [(x.numpy(), y) for x, y in expected])


@pytest.mark.release
def test_a_fit_with_growing_batches_gives_the_same_weights_as_arrays(compiled, digits, mirrored):
    """Under two replicas, with several updates per call, resumed inside an epoch."""
    weights = []
    for source in (digits, Items(*digits)):
        with mirrored.scope():
            model = compiled(steps_per_execution=2)
        train = Pipeline(source, 128)
        scheduler = BatchSizeScheduler(train, lambda epoch, size: 128 * 2**epoch)
        train.start_step = 3
        model.fit(train, epochs=2, verbose=0, callbacks=[scheduler])
        assert model.optimizer.iterations == 11 - 3 + 5
        test = train.in_order(100)
        weights.append((model.get_weights(), model.predict(test, verbose=0)))
    tf.nest.map_structure(np.testing.assert_array_equal, *weights)


def test_passes_read_what_they_need():
    """A resumed epoch reads only the rows that are left, and yields them in order."""
    source = Items(np.arange(700), np.arange(700))
    train = Pipeline(source, 50, seed=1)
    for epoch, start in ((0, 0), (0, 12), (5, 13)):
        source.read.clear()
        read = np.concatenate([y for _, y in batches(train, epoch, start)])
        assert sorted(source.read) == sorted(read) and len(read) == 50 * (14 - start)
        np.testing.assert_array_equal(read, epoch_order(700, 1, epoch)[50 * start :])


@pytest.mark.release
def test_real_mnist_is_the_same_from_disk():
    data_dir = real_data("mnist")
    arrays = load_images("mnist", "train[:20%]", data_dir)
    records = load_images("mnist", "train[:20%]", data_dir, max_bytes=0)

    def decode(example, seed):
        encoded, label = example
        return tf.ensure_shape(tf.io.decode_png(encoded, channels=1), (28, 28, 1)), label

    theirs, ours = Pipeline(arrays, 1000, seed=1), Pipeline(records, 1000, decode=decode, seed=1)
    for place in ((0,), (1, 7)):
        assert_same(batches(ours, *place), batches(theirs, *place))
