"""AutoWU's decision: whether the losses of a warm-up have passed their minimum.

A Gaussian process over the losses of all updates estimates where the minimum is, and how certain
that is. Uses only NumPy and scikit-learn; scikit-learn is imported at the first decision.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

LENGTH_SCALE = 0.2
GRID = np.linspace(0.0, 1.0, 500)
TESTS = 5
CONFIDENCE = 0.95
_MOST_TO_FIT = 100
_MOST_TO_PREDICT = 500
_BINS = 96
_JITTER = 1e-4  # added to the variance of a difference

# The fit: Adam steps per epoch, on the raw values of amplitude (through softplus), noise (through
# softplus, plus the least noise) and mean.
_STEPS = 100
_STEP_SIZE = 0.01
_DECAYS = 0.9, 0.999
_LEAST_NOISE = 1e-4
_FIRST_NOISE = 1e-3


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Result of the tests on the losses up to an epoch's end.

    Attributes:
        votes: how many of the `TESTS` tests are confident that the loss has passed its minimum.
        minima: for each test the place of the posterior mean's minimum, in [0, 1]; empty if no
            loss was finite.
        mean: posterior mean of the loss on `GRID`, averaged over the tests.
        deviation: its posterior standard deviation (without the noise of single losses), averaged
            likewise.
        state: for the next epoch's `judge`, plain numbers.
    """

    votes: int
    minima: tuple[float, ...]
    mean: np.ndarray | None
    deviation: np.ndarray | None
    state: list[float] | None

    @property
    def is_positive(self) -> bool:
        """Whether most of the tests are positive."""
        return self.votes > TESTS / 2


def judge(
    epochs: Sequence[np.ndarray], state: Sequence[float] | None = None, seed: int = 0
) -> Judgement:
    """Tests at an epoch's end whether the losses so far have passed their minimum.

    Loss j of the n losses in epoch e of E is at x = (e + j/n) / E, which is index/len if all epochs
    have equally many. A Gaussian process with a constant mean, the covariance
    amplitude · exp(−(x − x')² / (2 · 0.2²)) and noise is fitted to at most 100 losses. Each test
    takes another random subset of at most 500 losses, which gives the noise-free posterior f at 500
    places. The test is positive if

        max over i of P(f_i < f_last) > 0.95

    There are five tests. The result is a pure function of the arguments, so that every worker, and
    a resumed run, decides the same. Losses that are not finite are left out; their places stay
    empty. Takes about 10 ms.

    >>> x = np.arange(300) / 300
    >>> losses = 2 - x + 40 * np.maximum(x - 0.6, 0) ** 2
    >>> judgement = judge(losses.reshape(6, 50))
    >>> judgement.votes, round(float(np.mean(judgement.minima)), 1)
    (5, 0.6)

    Args:
        epochs: the losses of each update, one array for each epoch of the warm-up so far.
        state: of the previous epoch's judgement; None if there is none.
        seed: of the random subsets.

    The fit is the authors': 100 Adam steps per epoch that start from the last epoch's result. They
    cannot follow losses that explode, which helps. The largest marginal likelihood, which
    scikit-learn would find, explains a loss of 10,000 by equally large noise and is then certain of
    nothing: on recorded warm-ups it withdrew its votes in the epochs where the loss diverged. The
    price: the authors' noise starts at 0.001 and is underestimated in the first epochs.

    Differs from the paper: the posterior uses the mean of all losses in the same 96th of the axis,
    with the noise divided by their number (the kernel's length scale is 19 such parts).

    Reference: Kim et al., "Automated Learning Rate Scheduler for Large-batch Training",
    arXiv:2107.05855, section 3 and algorithm 1.
    """
    x, y = _points(epochs)
    if not len(y):
        return Judgement(0, (), None, None, None if state is None else list(state))
    generator = np.random.default_rng([seed, len(epochs)])
    fit, posteriors = _Fit(state), []
    with _threads().limit(limits=1):  # matrices are small: more threads wait for each other
        amplitude, noise, center = fit.run(*_subset(x, y, _MOST_TO_FIT, generator), y.mean())
        for _ in range(TESTS):
            some_x, some_y = _subset(x, y, _MOST_TO_PREDICT, generator)
            posteriors.append(_posterior(some_x, some_y - center, amplitude, noise))
    means, deviations, probabilities = zip(*posteriors, strict=True)
    return Judgement(
        votes=sum(probability > CONFIDENCE for probability in probabilities),
        minima=tuple(float(GRID[mean.argmin()]) for mean in means),
        mean=center + np.mean(means, axis=0),
        deviation=np.mean(deviations, axis=0),
        state=fit.state,
    )


@functools.cache
def _threads():
    """Returns the control of the linear algebra libraries' threads.

    scikit-learn depends on threadpoolctl, so it is installed.
    """
    import scipy.linalg  # noqa: F401  so that its library is loaded
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _points(epochs) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places and values of all finite losses."""
    x = [number + np.arange(len(losses)) / len(losses) for number, losses in enumerate(epochs)]
    x = np.concatenate([*x, []]) / max(len(epochs), 1)
    y = np.concatenate([*epochs, []]).astype(np.float64)
    finite = np.isfinite(y)
    return x[finite], y[finite]


def _subset(x, y, most: int, generator) -> tuple[np.ndarray, np.ndarray]:
    if len(x) <= most:
        return x, y
    chosen = np.sort(generator.choice(len(x), most, replace=False))
    return x[chosen], y[chosen]


class _Fit:
    """Fits the hyper-parameters; keeps their raw values and Adam's moments between epochs."""

    def __init__(self, state):
        first_noise = math.log(math.expm1(_FIRST_NOISE - _LEAST_NOISE))
        state = [0.0, first_noise, *[0.0] * 7] if state is None else list(state)
        self._raw = [*state[:2], 0.0]
        self._first, self._second, self._done = state[2:5], state[5:8], int(state[8])

    @property
    def state(self) -> list[float]:
        return [float(v) for v in (*self._raw[:2], *self._first, *self._second, self._done)]

    def run(self, x, y, mean: float) -> tuple[float, float, float]:
        """Makes the steps of one epoch, starting at `mean`; returns amplitude, noise and mean."""
        from sklearn.gaussian_process.kernels import RBF

        # The length scale is fixed. So the eigenvectors of the correlation matrix diagonalize the
        # covariance for any amplitude and noise, and a step costs only vector operations.
        variances, directions = np.linalg.eigh(RBF(LENGTH_SCALE)(x[:, None]))
        y, ones = directions.T @ y, directions.sum(axis=0)
        self._raw[2] = float(mean)
        for _ in range(_STEPS):
            self._step(variances, y, ones)
        return *self._positive(), self._raw[2]

    def _positive(self) -> tuple[float, float]:
        amplitude, noise = (max(raw, 0) + math.log1p(math.exp(-abs(raw))) for raw in self._raw[:2])
        return amplitude, noise + _LEAST_NOISE

    def _step(self, variances, y, ones) -> None:
        """Makes one Adam step on the negative log marginal likelihood."""
        amplitude, noise = self._positive()
        precision = 1.0 / (amplitude * variances + noise)
        weights = precision * (y - self._raw[2] * ones)
        surprise = 0.5 * (precision - weights * weights)
        slopes = [0.5 + 0.5 * math.tanh(0.5 * raw) for raw in self._raw[:2]]
        gradient = (
            slopes[0] * float(surprise @ variances) / len(y),
            slopes[1] * float(surprise.sum()) / len(y),
            -float(ones @ weights) / len(y),
        )
        self._done += 1
        corrections = [1 - decay**self._done for decay in _DECAYS]
        for i, slope in enumerate(gradient):  # plain numbers: arrays of three are slower
            self._first[i] = _DECAYS[0] * self._first[i] + (1 - _DECAYS[0]) * slope
            self._second[i] = _DECAYS[1] * self._second[i] + (1 - _DECAYS[1]) * slope * slope
            root = math.sqrt(self._second[i] / corrections[1])
            self._raw[i] -= _STEP_SIZE * self._first[i] / corrections[0] / (root + 1e-8)


def _posterior(x, y, amplitude: float, noise: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns the noise-free posterior's mean and deviation on the grid, max P(f_i < f_last)."""
    from scipy.linalg import solve_triangular
    from scipy.special import ndtr
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    x, y, counts = _binned(x, y)
    kernel = ConstantKernel(amplitude) * RBF(LENGTH_SCALE)
    process = GaussianProcessRegressor(kernel, alpha=noise / counts, optimizer=None)
    process.fit(x[:, None], y)
    # Only the covariance with the last place is needed; the whole would take most of the time.
    grid = GRID[:, None]
    across = kernel(grid, x[:, None])
    mean = across @ process.alpha_
    explained = solve_triangular(process.L_, across.T, lower=True)
    variance = amplitude - np.einsum("ij,ij->j", explained, explained)
    with_last = kernel(grid, grid[-1:])[:, 0] - explained.T @ explained[:, -1]
    spread = np.maximum(variance + variance[-1] - 2 * with_last, 0.0) + _JITTER
    probabilities = ndtr((mean[-1] - mean) / np.sqrt(spread))
    return mean, np.sqrt(np.maximum(variance, 0.0)), float(probabilities.max())


def _binned(x, y) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the mean place and value of the losses in each 96th of the axis, and their number."""
    bins = np.minimum((x * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    used = counts > 0
    sums = (np.bincount(bins, values, minlength=_BINS)[used] for values in (x, y))
    x, y = (total / counts[used] for total in sums)
    return x, y, counts[used]
