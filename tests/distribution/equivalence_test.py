"""One device = several replicas = several workers: the same seed and the same global batches."""

from pathlib import Path

import numpy as np
import pytest

from tests.distribution.workers import run_workers

SCRIPT = Path(__file__).parent / "equivalence_script.py"
OPTIMIZERS = ("sgd", "lars", "adam")
PIECES = tuple(f"{case} in pieces" for case in (*OPTIMIZERS, "averaged", "executions", "stream"))
REST = (
    "norm,executions,augmented,stream,unscheduled,unscheduled_stream,clipped_together,clipped,"
    "resumed,plain,evaluated"
).split(",")

pytestmark = pytest.mark.slow


def release(*values):
    return pytest.param(*values, marks=pytest.mark.release)


def run(folder, strategy, devices, cases, num_workers=1):
    arguments = strategy, str(devices), ",".join(cases)
    return run_workers(SCRIPT, folder, *arguments, num_workers=num_workers, seconds=900)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    cases = (*OPTIMIZERS, *REST, "averaged", *PIECES)
    return run(tmp_path_factory.mktemp("one"), "one", 1, cases)[0]


@pytest.mark.parametrize(
    "strategy, devices, num_workers, cases",
    [
        ("one", 1, 1, PIECES),
        ("mirrored", 2, 1, (*OPTIMIZERS, *REST, *PIECES)),
        release("mirrored", 4, 1, OPTIMIZERS),
        ("multi_worker", 1, 2, (*OPTIMIZERS, *REST, "averaged", *PIECES[-2:])),
        release("multi_worker", 1, 3, ("executions in pieces", "evaluated")),
    ],
)
def test_equals_one_device(one_device, tmp_path, strategy, devices, num_workers, cases):
    """Weights, logs, updates, metrics and predictions, over a batch-size switch; 1e-6 relative.

    Measured: 2e-7 at most.
    """
    one = strategy == "one"
    results = [dict(one_device)] if one else run(tmp_path, strategy, devices, cases, num_workers)
    for result in results:
        assert result.pop("replicas") == devices * num_workers
        if not one:
            assert {name.split(":")[0] for name in result} == set(cases)
        for name, value in result.items():
            expected = one_device[name.replace(" in pieces", "")]
            assert value.shape == expected.shape, name
            error = np.linalg.norm(value - expected)
            assert error <= 1e-6 * np.linalg.norm(expected), name


def test_it_trained(one_device):
    """The comparison is of something: updates as planned, losses that fall, all rows predicted."""
    assert one_device["sgd: updates"] == 12 + 12 + 6
    assert one_device["resumed: updates"] == 12 - 5 + 6
    for case in (*OPTIMIZERS, "executions", "stream"):
        loss = one_device[f"{case}: loss"]
        assert loss[-1] < 0.9 * loss[0], case
    assert one_device["sgd: predictions"].shape == (53, 3)
