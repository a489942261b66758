import keras
import pytest

from lbkeras import models
from lbkeras.planning import Phase, Plan
from lbkeras.runs.steps_per_execution import choose_steps_per_execution
from lbkeras.trainers import StackedNodes


def convolutional(filters):
    """Returns a model with 3 x 3 kernels at 16 x 16 positions, then a dense layer."""
    return keras.Sequential(
        [
            keras.Input((16, 16, 8)),
            keras.layers.Conv2D(filters, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )


def plan(*batch_sizes, num_examples=1_000_000):
    return Plan([Phase(i, 1, size, 0.1, 0.9) for i, size in enumerate(batch_sizes)], num_examples)


def expected(multiplications, batch_size):
    """For calls of 0.05 s at 30 G operations/s; backward takes twice the operations of forward."""
    return int(0.05 * 30e9 / (6 * multiplications * batch_size))


def test_counts_the_multiplications():
    model = convolutional(64)
    multiplications = 16 * 16 * 3 * 3 * 8 * 64 + 64 * 10
    assert 1 < expected(multiplications, 10) < 50
    assert choose_steps_per_execution(model, plan(10)) == expected(multiplications, 10)


def test_nested_models_count():
    inner = convolutional(64)
    outer = keras.Sequential([keras.Input((16, 16, 8)), inner])
    assert choose_steps_per_execution(outer, plan(10)) == choose_steps_per_execution(
        inner, plan(10)
    )


def test_the_smallest_batch_decides():
    model = convolutional(64)
    assert choose_steps_per_execution(model, plan(40, 10, 20)) == choose_steps_per_execution(
        model, plan(10)
    )


@pytest.mark.parametrize(
    "batch_sizes, num_examples, steps",
    [((32,), 10**6, 50), ((32,), 320, 10), ((32, 160), 320, 10), ((320,), 320, 1)],
)
def test_small_models(batch_sizes, num_examples, steps):
    """At most 50, and at most the updates of the longest epoch."""
    model = models.mlp((8, 8, 1), 10, (16,))
    received = choose_steps_per_execution(model, plan(*batch_sizes, num_examples=num_examples))
    assert received == steps


def test_large_models():
    assert choose_steps_per_execution(convolutional(64), plan(5000)) == 1


def test_a_model_without_kernels():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Rescaling(2.0)])
    assert choose_steps_per_execution(model, plan(32)) == 50


def test_stacked_nodes_count_as_the_model_of_one_node():
    model = convolutional(8)
    expected = choose_steps_per_execution(model, plan(64))
    assert 1 < expected < 50
    assert choose_steps_per_execution(StackedNodes(model, 4), plan(64)) == expected
