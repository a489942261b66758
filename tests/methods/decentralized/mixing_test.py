"""Mixing matrices: doubly stochastic, spectra as in closed form, bytes sent."""

import math

import numpy as np
import pytest

from lbkeras.errors import UserError
from lbkeras.methods.decentralized import mixing

SIZES = [1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 17, 32]


@pytest.mark.parametrize("topology", mixing.TOPOLOGIES)
@pytest.mark.parametrize("num_nodes", SIZES)
def test_symmetric_doubly_stochastic_and_connected(topology, num_nodes):
    matrix = mixing.mixing_matrix(topology, num_nodes)
    assert matrix.shape == (num_nodes, num_nodes) and np.all(matrix >= 0)
    assert np.all(np.diag(matrix) > 0)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-14)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert 0 < mixing.spectral_gap(matrix) <= 1 + 1e-12
    reached = np.linalg.matrix_power(matrix, num_nodes)
    assert np.all(reached > 0)


@pytest.mark.parametrize("num_nodes", [3, 4, 5, 8, 16, 33])
def test_the_rings_spectrum(num_nodes):
    k = np.arange(num_nodes)
    expected = np.sort((1 + 2 * np.cos(2 * np.pi * k / num_nodes)) / 3)
    matrix = mixing.ring(num_nodes)
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix), expected, atol=1e-12)
    second = max(abs(expected[:-1]))
    assert mixing.spectral_gap(matrix) == pytest.approx(1 - second)


@pytest.mark.parametrize("num_nodes", [4, 8, 16, 32])
def test_the_exponential_graphs_spectrum(num_nodes):
    """The matrix is circulant: its eigenvalues are the Fourier transform of its first row."""
    hops = {sign * 2**k % num_nodes for k in range(int(math.log2(num_nodes))) for sign in (1, -1)}
    k = np.arange(num_nodes)
    waves = sum(np.cos(2 * np.pi * k * hop / num_nodes) for hop in hops)
    expected = np.sort((1 + waves) / (1 + len(hops)))
    matrix = mixing.exponential(num_nodes)
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix), expected, atol=1e-12)
    assert len(mixing.neighbors(matrix)[0]) == len(hops) == 2 * int(math.log2(num_nodes)) - 1


@pytest.mark.parametrize("num_nodes", [2, 5, 32])
def test_a_complete_graph_averages_at_once(num_nodes):
    assert mixing.spectral_gap(mixing.complete(num_nodes)) == pytest.approx(1)


@pytest.mark.parametrize("num_nodes", [16, 36, 64])
def test_a_larger_degree_gives_a_larger_spectral_gap(num_nodes):
    names = ["ring", "grid", "exponential", "complete"]
    gaps = [mixing.spectral_gap(mixing.mixing_matrix(name, num_nodes)) for name in names]
    assert gaps == sorted(gaps) and gaps[0] < gaps[1]


def test_metropolis_hastings_on_a_grid_of_two_rows():
    """The grid is 0 1 2 / 3 4 5: corners have two neighbors, 1 and 4 have three."""
    third, quarter = 1 / 3, 1 / 4
    matrix = mixing.grid(6)
    np.testing.assert_allclose(
        matrix[:2],
        [
            [1 - third - quarter, quarter, 0, third, 0, 0],
            [quarter, quarter, quarter, 0, quarter, 0],
        ],
    )
    assert mixing.neighbors(matrix)[4] == [1, 3, 5]


def test_an_identity_never_averages():
    assert mixing.spectral_gap(np.eye(3)) == pytest.approx(0)


def test_bytes_sent():
    assert mixing.bytes_sent(mixing.ring(8), 100) == 200
    assert mixing.bytes_sent(mixing.exponential(8), 100) == 500
    assert mixing.bytes_sent(mixing.grid(9), 100) == 400
    assert mixing.bytes_sent(mixing.complete(8), 100) == 700
    assert mixing.all_reduce_bytes_sent(8, 100) == pytest.approx(175)


def test_messages():
    with pytest.raises(UserError, match="^topology: expected one of ring, .* received 'rnig' .*ri"):
        mixing.mixing_matrix("rnig", 4)
    for wrong in (0, 2.0, True):
        with pytest.raises(UserError, match="^num_nodes: expected a whole number of at least 1, r"):
            mixing.ring(wrong)
