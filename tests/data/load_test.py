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
    data_dir = tmp_path_factory.mktemp("tfds")
    pixels = np.random.default_rng(0).integers(1, 256, (12, 32, 32, 3), dtype=np.uint8)
    write(data_dir, "cifar10", pixels, shape=(32, 32, 3))
    return str(data_dir), pixels


def write(data_dir, name, images, shape):
    """Images as both splits of a set in the layout of TFDS."""
    import tensorflow_datasets as tfds

    rows = [{"image": image, "label": i % 10} for i, image in enumerate(images)]
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=shape, encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        ),
        split_datasets={"train": list(enumerate(rows)), "test": list(enumerate(rows))},
        data_dir=data_dir,
        disable_shuffling=True,
    )


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


def test_sizes_of_images_that_stay_on_disk(tmp_path):
    """The mean of a black image whose middle 8 of 32 pixels are white tells the crop."""
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[:, 12:20, 12:20] = 255
    write(tmp_path, "photographs", pixels, shape=(None, None, 3))

    def image(split="test", **sizes):
        return images(data.load("photographs", split, 1, data_dir=str(tmp_path), **sizes))[0]

    assert image().shape == (224, 224, 3)
    assert image("train", image_size=64).shape == (64, 64, 3)
    # The crop shows the central 16 of 32 pixels or, by default, 28.
    assert image(image_size=16, resize=32).mean() / 255 == (8 / 16) ** 2
    assert image(image_size=16).mean() / 255 == pytest.approx((8 / 28) ** 2, rel=0.2)
    for sizes, message in (
        (dict(image_size=0), "image_size: expected a whole number of at least 1, received 0"),
        (dict(image_size="64"), "image_size: expected a whole number of at least 1, received '64'"),
        (dict(resize=223), "resize: expected a whole number of at least 224, received 223"),
    ):
        with pytest.raises(UserError, match=message):
            image(**sizes)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(name="digits", augmentation="crop"), 'augmentation: .*"default" or "none".*\'crop\''),
        (dict(name="digits", split="validation"), "split: expected .*'validation'"),
        (dict(name="digits", batch_size=0), "batch_size: expected 1 to 1437 .*, received 0"),
        (dict(name="digits", batch_size=1438), "batch_size: expected 1 to 1437 .*, received 1438"),
        (
            dict(name="digits", image_size=64),
            "image_size: expected none, as 'digits' is not .*64",
        ),
        (
            dict(name="digits", shuffle=True),
            "shuffle: expected one of 'default', 'shards', .* True",
        ),
        (dict(name="digits", shuffle="shards"), "shuffle: .* received it for data in memory"),
        (dict(name="digits", resize=9), "resize: expected none, as 'digits' is not an image set"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(UserError, match=message):
        data.load(**arguments)
