import numpy as np
import pytest

from lbkeras.analysis import RandomSubspace
from lbkeras.errors import UserError
from lbkeras.methods.sharpness import random_subspace


def matrix(subspace):
    return np.stack([subspace.expand(row) for row in np.eye(subspace.dimensions)], axis=1)


def test_products_equal_those_of_the_matrix():
    subspace = RandomSubspace(50, 4, seed=3)
    a = matrix(subspace)
    generator = np.random.default_rng(0)
    x, z = generator.standard_normal(50), generator.standard_normal(4)
    assert a.shape == (50, 4)
    np.testing.assert_allclose(subspace.expand(z), a @ z, rtol=1e-12)
    np.testing.assert_allclose(subspace.project(x), a.T @ x, rtol=1e-12)
    np.testing.assert_allclose(subspace.coordinates(x), np.linalg.pinv(a) @ x, rtol=1e-9)


def test_entries_are_standard_normal_and_a_function_of_the_seed():
    a = matrix(RandomSubspace(5000, 10, seed=1))
    assert abs(a.mean()) < 4 / 50_000**0.5
    assert abs(a.var() - 1) < 4 * (2 / 50_000) ** 0.5
    np.testing.assert_array_equal(a, matrix(RandomSubspace(5000, 10, seed=1)))
    assert not np.any(a == matrix(RandomSubspace(5000, 10, seed=2)))


def test_a_regenerated_matrix_equals_the_stored_one(monkeypatch):
    monkeypatch.setattr(random_subspace, "_ROWS", 7)
    kept = RandomSubspace(40, 3)
    monkeypatch.setattr(random_subspace, "_MOST_STORED", 0)
    anew = RandomSubspace(40, 3)
    assert anew._stored is None and len(kept._stored) == 6
    np.testing.assert_array_equal(matrix(kept), matrix(anew))


@pytest.mark.parametrize("dimensions", [0, 6])
def test_dimensions_out_of_range(dimensions):
    with pytest.raises(UserError, match="^dimensions: expected 1 to 5 "):
        RandomSubspace(5, dimensions)
