"""SGDP: comparison with the NumPy restatement, the projection, and error messages."""

import keras
import numpy as np
import pytest

from lbkeras.errors import UserError
from lbkeras.optimizers import SGDP
from tests.optimizers import projection_cases, restatements

VARIANTS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
    {"momentum": 0.5, "dampening": 0.25},
    {"momentum": 0.9, "weight_decay": 0.1, "delta": 0.0},
    {"momentum": 0.9, "weight_decay": 0.1, "weight_decay_ratio": 1.0, "delta": 0.2},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_steps_of_each_kind_with_increasing_learning_rate(
    variant, run_optimizer, relative_difference
):
    *case, expected = projection_cases.make_case(restatements.sgdp, **variant)
    ours = run_optimizer(SGDP(0.1, **variant), *case)
    assert relative_difference(ours, expected) < 1e-6


def test_a_projected_step_is_orthogonal_to_the_weights():
    generator = np.random.default_rng(3)
    weight = generator.standard_normal((8, 3)).astype(np.float32)
    gradient = projection_cases.gradient_for(weight.astype(np.float64), "channel", generator)
    variable = keras.Variable(weight, name="kernel")
    optimizer = SGDP(0.1, momentum=0.9)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    change = keras.ops.convert_to_numpy(variable).astype(np.float64) - weight
    np.testing.assert_allclose(np.sum(change * weight, axis=0), 0, atol=2e-6)
    assert np.linalg.norm(change) > 0.1


def test_without_projection_it_is_sgd_with_momentum(run_optimizer, problem, relative_difference):
    names, weights, gradients, _ = problem
    rates = [0.1] * len(gradients)  # Keras has the learning rate inside the momentum, SGDP outside
    theirs = keras.optimizers.SGD(0.1, momentum=0.9)
    theirs = run_optimizer(theirs, names, weights, gradients, rates)
    ours = SGDP(0.1, momentum=0.9, delta=0.0)
    ours = run_optimizer(ours, names, weights, gradients, rates)
    assert relative_difference(ours, theirs) < 2e-6


@pytest.mark.parametrize(
    "name, value",
    [
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("dampening", -0.5),
        ("epsilon", -1e-8),
        ("weight_decay", -0.1),
        ("delta", -0.1),
        ("weight_decay_ratio", -1.0),
    ],
)
def test_messages(name, value):
    with pytest.raises(UserError, match=f"^{name}: expected .*, received ") as caught:
        SGDP(0.1, **{name: value})
    assert repr(value) in str(caught.value) and "\n" not in str(caught.value)
