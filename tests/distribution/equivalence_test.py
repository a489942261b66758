"""One device, several replicas and several workers train equally from a seed and global batches."""

from pathlib import Path

import numpy as np
import pytest

from tests.distribution.workers import run_workers

SCRIPT = Path(__file__).parent / "equivalence_script.py"
OPTIMIZERS = ("sgd", "lars", "adam")
WAYS = ("averaged", "masked", "executions", "stream")
PIECES = tuple(f"{case} in pieces" for case in (*OPTIMIZERS, *WAYS))
REST = (
    "norm,executions,augmented,stream,unscheduled,unscheduled_stream,unscheduled_rows,"
    "clipped_together,clipped,resumed,plain,evaluated,masked"
).split(",")
# For the gate, which compares the main ways of training; the release check compares all cases.
# Two workers that train from memory and resume are in tests/cli/multi_worker_test.py.
FEW_REPLICAS = ("stream", "evaluated", "executions in pieces")
FEW_WORKERS = ("rows", "executions in pieces")
READ = ("read", "read_shards")

pytestmark = pytest.mark.slow


def release(*values):
    return pytest.param(*values, marks=pytest.mark.release)


def run(folder, strategy, devices, cases, num_workers=1):
    arguments = strategy, str(devices), ",".join(cases)
    return run_workers(SCRIPT, folder, *arguments, num_workers=num_workers, seconds=900)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """A function: returns the results of cases on one device, each of them trained once."""
    done, results = set(), {}

    def of(cases):
        missing = sorted(set(cases) - done)
        if missing:
            results.update(run(tmp_path_factory.mktemp("one"), "one", 1, missing)[0])
            done.update(missing)
        chosen = {n: value for n, value in results.items() if n.split(":")[0] in cases}
        return chosen | {"replicas": results["replicas"]}

    return of


@pytest.mark.parametrize(
    "strategy, devices, num_workers, cases",
    [
        ("mirrored", 2, 1, FEW_REPLICAS),
        ("multi_worker", 1, 2, FEW_WORKERS),
        release("one", 1, 1, PIECES),
        release("mirrored", 2, 1, (*OPTIMIZERS, *REST, *PIECES)),
        release("mirrored", 4, 1, OPTIMIZERS),
        release("multi_worker", 1, 2, (*OPTIMIZERS, *REST, "averaged", *PIECES[-2:])),
        release("multi_worker", 1, 3, ("executions in pieces", "evaluated", "rows")),
    ],
)
def test_equals_one_device(one_device, tmp_path, strategy, devices, num_workers, cases):
    """Weights, logs, updates, metrics and predictions agree to 1e-6 over a batch-size switch.

    The largest measured relative error is 2e-7.
    """
    undivided = one_device({case.replace(" in pieces", "") for case in cases})
    if strategy == "one":
        results = [one_device(cases)]
    else:
        also = READ if num_workers > 1 else ()
        results = run(tmp_path, strategy, devices, (*cases, *also), num_workers)
        results = check_what_was_read(results, one_device(READ)) if also else results
    for result in results:
        assert result.pop("replicas") == devices * num_workers
        assert {name.split(":")[0] for name in result} == set(cases)
        for name, value in result.items():
            expected = undivided[name.replace(" in pieces", "")]
            assert value.shape == expected.shape, name
            error = np.linalg.norm(value - expected)
            assert error <= 1e-6 * np.linalg.norm(expected), name


def check_what_was_read(results, one_device):
    """Checks that each worker read only its own part of each batch; returns the other results."""
    for case in READ:
        places = [result.pop(f"{case}: places") for result in results]
        assert {len(each) for each in places} == {144 // len(results)}
        assert len(np.unique(np.concatenate(places))) == 144
        x = np.concatenate([result.pop(f"{case}: x") for result in results], axis=1)
        assert x.shape == (12, 12, 6)
        if case == "read":  # the order of one device
            np.testing.assert_array_equal(x, one_device["read: x"])
    return results


@pytest.mark.parametrize("cases", [("sgd", "executions", "stream"), release(("lars", "adam"))])
def test_it_trained(one_device, cases):
    """The compared runs did train: updates as planned, falling losses, all rows predicted."""
    results = one_device((*cases, "sgd", "resumed"))
    assert results["sgd: updates"] == 12 + 12 + 6
    assert results["resumed: updates"] == 12 - 5 + 6
    for case in cases:
        loss = results[f"{case}: loss"]
        assert loss[-1] < 0.9 * loss[0], case
    assert results["sgd: predictions"].shape == (53, 3)
