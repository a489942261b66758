"""Sharpness of quadratics, whose maximum in a box has a closed form or is in a corner."""

import itertools
import math

import numpy as np
import pytest

from lbkeras.analysis import RandomSubspace
from lbkeras.errors import UserError
from lbkeras.methods.sharpness.maximum import sharpness


def quadratic(at, hessian, gradient, value=1.0):
    """f(y) = value + gradient'(y - at) + (y - at)' hessian (y - at) / 2, and its gradient."""

    def value_and_gradient(y):
        step = y - at
        return value + gradient @ step + step @ hessian @ step / 2, gradient + hessian @ step

    return value_and_gradient


def relative(rise, value=1.0):
    return 100 * rise / (1 + value)


@pytest.mark.parametrize("seed", range(20))
def test_full_space_of_a_known_spectrum(seed):
    """max of g'z + z'Dz/2 over |z_i| <= b_i is sum |g_i| b_i + D_i b_i^2 / 2 for D >= 0."""
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 60))
    spectrum = 10 ** generator.uniform(-4, 4, size) * (generator.random(size) > 0.3)
    gradient = generator.standard_normal(size) * (generator.random(size) > 0.4) * (seed % 3)
    x = generator.standard_normal(size)
    epsilon = 10 ** generator.uniform(-4, -1)
    width = epsilon * (abs(x) + 1)
    expected = relative(np.abs(gradient) @ width + spectrum @ width**2 / 2)
    measured = sharpness(quadratic(x, np.diag(spectrum), gradient), x, epsilon, seed=seed)
    assert measured == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_subspace_of_a_known_spectrum(seed):
    """For the Hessian s v v' at its minimum: s (sum_j b_j |(A'v)_j|)^2 / 2."""
    generator = np.random.default_rng(seed)
    x, v = generator.standard_normal((2, 200))
    subspace = RandomSubspace(200, 20, seed)
    a = np.stack([subspace.expand(row) for row in np.eye(20)], axis=1)
    width = 1e-3 * (abs(np.linalg.pinv(a) @ x) + 1)
    expected = relative(5.0 * (width @ abs(a.T @ v)) ** 2 / 2)
    f = quadratic(x, 5.0 * np.outer(v, v), np.zeros(200))
    assert sharpness(f, x, 1e-3, subspace) == pytest.approx(expected, rel=1e-5)
    assert sharpness(f, x, 1e-3, 20, seed=seed) == sharpness(f, x, 1e-3, subspace, seed=seed)


@pytest.mark.parametrize("seed", range(10))
def test_the_maximum_of_a_convex_quadratic_is_in_a_corner(seed):
    generator = np.random.default_rng(seed)
    root = generator.standard_normal((30, 30))
    x, gradient = generator.standard_normal((2, 30))
    f = quadratic(x, root.T @ root, gradient * (seed % 2))
    subspace = RandomSubspace(30, 6, seed)
    a = np.stack([subspace.expand(row) for row in np.eye(6)], axis=1)
    width = 1e-2 * (abs(np.linalg.pinv(a) @ x) + 1)
    corners = itertools.product((-1, 1), repeat=6)
    highest = max(f(x + a @ (width * np.array(signs)))[0] for signs in corners)
    found = sharpness(f, x, 1e-2, subspace, starts=20)
    assert found == pytest.approx(relative(highest - 1), rel=1e-9)
    assert sharpness(f, x, 1e-2, subspace) <= found * (1 + 1e-9)


def test_a_maximum_inside_the_box():
    top = np.full(5, 0.0003)

    def f(y):
        return -np.sum((y - top) ** 2), -2 * (y - top)

    rise = 5 * 0.0003**2
    assert sharpness(f, np.zeros(5)) == pytest.approx(100 * rise / (1 - rise), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
def test_a_small_gradient_does_not_end_the_search(scale):
    x = np.linspace(-1, 1, 9)
    f = quadratic(x, scale * np.eye(9), np.zeros(9), value=0.0)
    expected = relative(scale * np.sum((1e-3 * (abs(x) + 1)) ** 2) / 2, value=0.0)
    assert sharpness(f, x, 1e-3, iterations=2) == pytest.approx(expected, rel=1e-5)


def test_a_constant_loss_and_losses_that_are_not_finite():
    x = np.zeros(3)
    assert sharpness(lambda y: (2.0, np.zeros(3)), x) == 0
    assert sharpness(lambda y: (0.0 if not y.any() else math.inf, np.ones(3)), x) == math.inf
    assert math.isnan(sharpness(lambda y: (math.nan, np.ones(3)), x))


def test_the_value_at_x_is_not_computed_again():
    seen = []

    def f(y):
        seen.append(y)
        return 3 * y @ y, 6 * y

    x = np.zeros(2)
    assert sharpness(f, x, value=0.0) == sharpness(f, x)
    assert sum(not y.any() for y in seen) == 1
    assert len(seen) < 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(epsilon=0.0), "^epsilon: expected a positive number, received 0.0"),
        (dict(epsilon=math.nan), "^epsilon: expected a positive number"),
        (dict(iterations=0), "^iterations: expected at least 1, received 0"),
        (dict(starts=0), "^starts: expected at least 1, received 0"),
        (dict(subspace=4), "^dimensions: expected 1 to 3 "),
        (dict(value=-1.0), r"^value_and_gradient: expected f\(x\) above -1, received -1"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(UserError, match=message):
        sharpness(lambda y: (y @ y, 2 * y), np.zeros(3), **arguments)
