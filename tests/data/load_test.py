import numpy as np
import pytest

from lbkeras import data
from lbkeras.data.digits import load_digits
from lbkeras.errors import UserError


def images(pipeline, epoch=0):
    return np.concatenate([x.numpy() for x, _ in pipeline.dataset(epoch)])


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """`(data_dir, images)`: 12 images under the name and in the layout of TFDS' CIFAR-10."""
    import tensorflow_datasets as tfds

    data_dir = tmp_path_factory.mktemp("tfds")
    pixels = np.random.default_rng(0).integers(1, 256, (12, 32, 32, 3), dtype=np.uint8)
    rows = [{"image": image, "label": i % 10} for i, image in enumerate(pixels)]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="cifar10",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(32, 32, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        ),
        split_datasets={"train": list(enumerate(rows)), "test": list(enumerate(rows))},
        data_dir=data_dir,
        disable_shuffling=True,
    )
    return str(data_dir), pixels


def test_digits():
    train = data.load("digits", "train", batch_size=100, seed=3)
    x, y = load_digits("train")
    assert (train.num_examples, train.batch_size, train.steps_per_epoch) == (1437, 100, 14)
    assert train.shuffle and train.seed == 3
    batch_x, batch_y = next(iter(train.dataset()))
    assert batch_x.dtype == np.uint8 and batch_x.shape == (100, 8, 8, 1)
    assert not np.array_equal(batch_y, y[:100])
    found = {(image.tobytes(), int(label)) for image, label in zip(x, y, strict=True)}
    for image, label in zip(batch_x.numpy(), batch_y.numpy(), strict=True):
        assert (image.tobytes(), int(label)) in found


def test_the_test_split_is_for_evaluation():
    test = data.load("digits", "test", batch_size=100)
    assert not test.shuffle and test.steps_per_epoch == 4
    np.testing.assert_array_equal(images(test), load_digits("test")[0])
    assert data.load("digits", "test", training=True).shuffle
    assert not data.load("digits", "train", training=False).shuffle


def test_cifar_is_augmented_in_training_only(cifar):
    data_dir, pixels = cifar

    def loaded(split, epoch=0, **arguments):
        return images(data.load("cifar10", split, 12, data_dir=data_dir, **arguments), epoch)

    np.testing.assert_array_equal(loaded("test"), pixels)
    np.testing.assert_array_equal(loaded("train", training=False), pixels)
    plain = loaded("train", augmentation="none")
    assert sorted(map(bytes, plain)) == sorted(map(bytes, pixels))
    augmented = loaded("train")
    assert augmented.dtype == np.uint8 and augmented.shape == plain.shape
    assert not set(map(bytes, augmented)) >= set(map(bytes, pixels))
    np.testing.assert_array_equal(augmented, loaded("train"))
    assert not np.array_equal(augmented, loaded("train", epoch=1))
    assert not np.array_equal(augmented, loaded("train", seed=1))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(name="digits", augmentation="crop"), 'augmentation: .*"default" or "none".*\'crop\''),
        (dict(name="digits", split="validation"), "split: expected .*'validation'"),
        (dict(name="digits", batch_size=0), "batch_size: expected 1 to 1437 .*, received 0"),
        (dict(name="digits", batch_size=1438), "batch_size: expected 1 to 1437 .*, received 1438"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(UserError, match=message):
        data.load(**arguments)
