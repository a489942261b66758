"""AutoWU's decisions against the published rule, restated in published_auto_wu.py."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from threadpoolctl import threadpool_limits

from lbkeras.methods.auto_wu.judgement import GRID, _posterior, judge
from tests.methods.auto_wu import published_auto_wu as published

HERE = Path(__file__).parent

NUM_SYNTHETIC = 60


def synthetic(seed):
    """Returns a noisy loss that falls and then rises, of shape (epochs, updates per epoch)."""
    generator = np.random.default_rng(seed)
    epochs, updates = int(generator.integers(6, 16)), int(generator.choice([5, 11, 23, 60, 234]))
    x = np.arange(epochs * updates) / (epochs * updates)
    minimum = generator.uniform(0.35, 0.75)
    middle, width = minimum - generator.uniform(0.1, 0.2), generator.uniform(0.03, 0.08)
    loss = 2.3 - generator.uniform(1, 2) / (1 + np.exp(-(x - middle) / width))
    loss += generator.choice([2, 10, 40]) * np.maximum(x - minimum, 0) ** 2
    loss += generator.choice([0.01, 0.03, 0.1, 0.3]) * generator.normal(size=len(x))
    return loss.reshape(epochs, updates)


def recorded():
    """Returns the losses recorded by tools/record_warm_up_losses.py, by the run's name."""
    with np.load(HERE / "warm_up_losses.npz") as file:
        return dict(file)


def decide(epochs):
    """Does what `published.decide` does, with `judge`."""
    state, positive = None, []
    for number in range(1, len(epochs) + 1):
        judgement = judge(epochs[:number], state)
        state = judgement.state
        positive.append(judgement.is_positive)
        if len(positive) >= 3 and all(positive[-3:]):
            return number, float(np.mean(judgement.minima))
    return None, float(np.mean(judgement.minima))


def compare(sequences):
    """Compares both rules.

    Returns:
        The number of epochs between their decisions; |rate / published − 1| where both switch in
        the same epoch; how often the published rule switches.
    """
    apart, errors, switches = [], [], 0
    for epochs in sequences:
        with threadpool_limits(1):  # matrices are small: threads would wait for each other
            theirs, their_place, _ = published.decide(epochs)
        ours, place = decide(epochs)
        never = len(epochs) + 1
        apart.append(abs((theirs or never) - (ours or never)))
        switches += theirs is not None
        if theirs is not None and theirs == ours:
            # The rate rises from 1e-5 to 1 over the sequence; here relative to 1e-5.
            rates = 1e5 ** (theirs / len(epochs) * np.array([place, their_place]))
            errors.append(abs(rates[0] / rates[1] - 1))
    return np.array(apart), np.array(errors), switches


@pytest.mark.parametrize("number", [4, pytest.param(16, marks=pytest.mark.release)])
def test_decides_as_published_on_a_few(number):
    small = [each for each in map(synthetic, range(99)) if each.size < 200]
    real = [losses for name, losses in recorded().items() if name.startswith("digits")]
    apart, errors, switches = compare([*small[: number - 2], *real[:: len(real) // 2][:2]])
    assert switches >= number / 2
    assert apart.max() <= 1 and np.median(errors) < 0.15


@pytest.mark.release
def test_decides_as_published():
    """Compares the rules on all 132 sequences; takes a minute."""
    kinds = {"synthetic": [synthetic(seed) for seed in range(NUM_SYNTHETIC)]}
    for kind in ("digits", "mnist"):
        kinds[kind] = [losses for name, losses in recorded().items() if name.startswith(kind)]
    compared = {kind: compare(sequences) for kind, sequences in kinds.items()}
    for kind, (apart, errors, switches) in compared.items():
        print(
            f"\n{kind}: {len(apart)} sequences, {switches} switch; same epoch "
            f"{np.mean(apart == 0):.3f}, within one {np.mean(apart <= 1):.3f}, median error of the "
            f"rate {np.median(errors):.4f}"
        )
        assert switches >= 3
    apart, errors = (np.concatenate([each[i] for each in compared.values()]) for i in (0, 1))
    assert np.mean(apart <= 1) >= 0.95
    assert np.mean(apart == 0) >= 0.80
    assert np.median(errors) < 0.15


def test_the_published_rule_follows_the_marginal_likelihoods_gradient():
    generator = np.random.default_rng(0)
    regressor = published.Regressor(generator)
    regressor.add(2 + np.sin(np.arange(40) / 10) + 0.1 * generator.normal(size=40))
    x, y = regressor.subsample(30)
    eigenvalues, vectors = np.linalg.eigh(published.kernel(x, x))
    gradient = regressor.gradient(eigenvalues, vectors.T @ y, vectors.sum(axis=0))

    def likelihood(raw):
        scale, noise = np.log1p(np.exp(raw[0])), 1e-4 + np.log1p(np.exp(raw[1]))
        covariance = scale * published.kernel(x, x) + noise * np.eye(len(x))
        return -multivariate_normal.logpdf(y, np.full(len(x), raw[2]), covariance) / len(x)

    for index, step in enumerate(1e-4 * np.eye(3)):
        slope = likelihood(regressor.raw + step) - likelihood(regressor.raw - step)
        assert gradient[index] == pytest.approx(slope / 2e-4, rel=1e-4)


def test_the_posterior_is_that_of_the_single_losses():
    """Compares with scikit-learn's prediction from all points, with its whole covariance."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    losses = next(each for each in map(synthetic, range(99)) if each.size > 1000).ravel()
    x = np.sort(np.random.default_rng(0).choice(len(losses), 500, replace=False))
    y, x = losses[x] - losses.mean(), x / len(losses)
    kernel = ConstantKernel(1.7) * RBF(0.2)
    process = GaussianProcessRegressor(kernel, alpha=0.01, optimizer=None).fit(x[:, None], y)
    mean, covariance = process.predict(GRID[:, None], return_cov=True)
    ours, deviation, probability = _posterior(x, y, 1.7, 0.01)
    expected = np.sqrt(np.diag(covariance))
    assert np.abs(ours - mean).max() < 0.1 * expected.mean()
    np.testing.assert_allclose(deviation, expected, rtol=0.02)
    assert probability == pytest.approx(
        published.probability_that_the_minimum_is_behind(mean, covariance), abs=0.01
    )


def test_a_pure_function_of_losses_state_and_seed():
    epochs = synthetic(5)
    first = judge(epochs[:4], judge(epochs[:3], seed=1).state, seed=1)
    again = judge(epochs[:4].copy(), judge(epochs[:3], seed=1).state, seed=1)
    assert (first.votes, first.minima, first.state) == (again.votes, again.minima, again.state)
    np.testing.assert_array_equal(first.mean, again.mean)
    assert all(isinstance(value, float) for value in first.state)


def test_non_finite_losses_are_left_out():
    epochs = synthetic(1).astype(np.float32)
    broken = epochs.copy()
    broken[1, ::3], broken[3, 1] = np.nan, np.inf
    judgement = judge(broken)
    assert np.isfinite(judgement.mean).all() and np.isfinite(judgement.state).all()
    assert np.mean(judgement.minima) == pytest.approx(np.mean(judge(epochs).minima), abs=0.05)
    nothing = judge([np.full(5, np.nan)], state=judgement.state)
    assert (nothing.votes, nothing.minima, nothing.state) == (0, (), judgement.state)


def test_a_constant_loss_decides_nothing():
    for value in (0.0, 2.3, 1e6):
        state = None
        for number in range(1, 7):
            judgement = judge([np.full(7, value)] * number, state)
            state = judgement.state
            assert judgement.votes == 0


def test_a_loss_that_explodes_has_passed_its_minimum():
    """The largest marginal likelihood would take losses of up to 3,600 in the end for noise."""
    epochs = recorded()["digits_lamb_batch_64_epochs_10_seed_1"]
    assert epochs[:7].max() < 4 and epochs[9].max() > 1000
    state, votes = None, []
    for number in range(1, len(epochs) + 1):
        judgement = judge(epochs[:number], state)
        state = judgement.state
        votes.append(judgement.votes)
    assert votes[7:] == [5, 5, 5]


def test_the_number_of_updates_per_epoch_does_not_move_the_minimum():
    """The minimum is at 3.5 of 6 epochs, also if the later epochs have a third of the updates."""
    places = []
    for sizes in ([60] * 6, [60, 60, 60, 20, 20, 20]):
        epochs = []
        for number, size in enumerate(sizes):
            x = number + np.arange(size) / size
            epochs.append(0.5 * (x - 3.5) ** 2)
        places.append(np.mean(judge(epochs).minima))
    assert places == pytest.approx([3.5 / 6] * 2, abs=0.02)
