"""Made data have a set's form and size, and a batch shows which examples it has."""

import numpy as np
import tensorflow as tf

from lbkeras.data.imagenet import random_resized_crop
from lbkeras.data.load import load
from lbkeras.data.made_data import MadePhotographs, made_data
from lbkeras.data.order import epoch_order
from lbkeras.data.pipeline import Pipeline


def test_a_batch_at_the_size_of_imagenet_follows_the_real_order():
    number, batch, step, piece = 1_281_167, 81_920, 7, 4
    made = made_data("imagenet2012", number)
    train = Pipeline(made, piece, decode=random_resized_crop(32), seed=3)
    images, labels = next(iter(train.dataset(5, step * batch // piece)))
    places = epoch_order(number, 3, 5)[step * batch : step * batch + piece]
    assert labels.numpy().tolist() == (places % 1000).tolist()
    assert images.shape == (piece, 32, 32, 3)


def test_photographs_are_gray_and_in_color_and_of_several_sizes():
    encoded, labels = MadePhotographs(10, 3).read(np.arange(4))
    shapes = [tuple(tf.io.decode_jpeg(each).shape) for each in encoded]
    assert {shape[2] for shape in shapes} == {1, 3} and len(set(shapes)) == 4
    assert any(side % 2 for shape in shapes for side in shape[:2])
    assert labels.tolist() == [0, 1, 2, 0]


def test_a_set_that_fits_in_memory_is_arrays_of_its_shape():
    images, labels = made_data("mnist", 50)
    assert (images.shape, images.dtype) == ((50, 28, 28, 1), np.uint8)
    assert sorted(set(labels.tolist())) == list(range(10))
    train = load("mnist", "train", 10, source=(images, labels))
    assert train.num_examples == 50 and train.shuffle


def test_a_text_is_tokens_of_a_window():
    tokens, following = made_data("tinyshakespeare.txt:12", 5, vocabulary=7)
    assert tokens.shape == following.shape == (5, 12)
    assert tokens.max() < 7
