"""TensorFlow's errors about data, in one line."""

import pytest
import tensorflow as tf

from lbkeras.data.reading import error_of_data, reason, user_error
from lbkeras.errors import UserError


def failing(x):
    raise UserError("source: expected five, received four")


def asserting(x):
    with tf.control_dependencies(
        [tf.debugging.Assert(x < 0, ["expected a negative, received", x])]
    ):
        return tf.identity(x)


ROWS = {
    "ours": (
        lambda rows: rows.map(lambda x: tf.py_function(failing, [x], x.dtype)),
        "source: expected five, received four",
    ),
    "asserted": (lambda rows: rows.map(asserting), "key: expected a negative, received 0"),
    "cardinality": (
        lambda rows: rows.apply(tf.data.experimental.assert_cardinality(5)),
        "key: expected 5 elements, received 4",
    ),
    "image": (
        lambda rows: rows.map(lambda x: tf.io.decode_png("x")),
        "key: expected examples that can be read, received .*PNG",
    ),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("in_graph", [False, True])
def test_errors_of_reading(name, in_graph):
    make, expected = ROWS[name]
    rows = make(tf.data.Dataset.range(4))

    @tf.function(autograph=False)
    def four(iterator):
        for _ in range(5):
            next(iterator)

    with pytest.raises(tf.errors.OpError) as error:
        four(iter(rows)) if in_graph else list(rows)
    found = user_error("key", error.value)
    assert "\n" not in str(found)
    with pytest.raises(UserError, match=f"^{expected}"):
        raise found
    named = error_of_data("mnist", error.value)
    assert str(named) == str(found).replace("key: ", "data set 'mnist': ", 1)


def test_errors_of_several_replicas():
    message = (
        "Graph execution error:\n\n2 root error(s) found.\n  (0) INVALID_ARGUMENT:  Error in "
        "user-defined function passed to MapDataset:3 transformation with iterator: "
        "Iterator::Root::Prefetch::Zip[1]::Map: no PNG\n\t [[{{node DecodePng}}]]\n"
        "\t [[Greater/_4]]\n"
        "  (1) CANCELLED:  Function was cancelled\n0 successful operations.\n0 derived errors "
        "ignored. [Op:__inference_multi_step_on_iterator_1001]"
    )
    assert reason(tf.errors.InvalidArgumentError(None, None, message)) == "no PNG"


def test_other_errors_are_not_about_data():
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        tf.debugging.assert_equal(1, 2)
    assert error_of_data("mnist", error.value) is None
    assert error_of_data("mnist", ValueError("IteratorGetNext")) is None
    assert "\n" not in reason(error.value)
