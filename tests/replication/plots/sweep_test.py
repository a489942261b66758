import json

import pytest

from lbkeras.replication import write_plots
from lbkeras.replication.plots.sweep import sweeps
from lbkeras.replication.replication_folder import read_replication_folder

pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.fixture
def workdir_of(make_workdir):
    """A function that makes a workdir from each arm's final accuracies; None: diverged."""

    def make(accuracies):
        workdir = make_workdir(
            {
                arm: ["diverged" if value is None else "finished" for value in values]
                for arm, values in accuracies.items()
            },
            claims=[],
        )
        for arm, values in accuracies.items():
            for seed, value in enumerate(values):
                path = workdir / arm / f"seed_{seed}" / "record.json"
                record = json.loads(path.read_text())
                record["final"]["val_accuracy"] = value
                path.write_text(json.dumps(record))
        return workdir

    return make


def test_a_point_is_the_mean_over_an_arms_finished_seeds(workdir_of):
    workdir = workdir_of(
        {"sgd_1024": [0.8, None], "sgd_32": [0.9, 0.92], "lars_32": [0.91], "lars_1024": [0.95]}
    )
    assert sweeps(read_replication_folder(workdir).runs, "val_accuracy") == {
        "batch_size": {
            "sgd": [
                (32, pytest.approx(91), pytest.approx(100 * 0.02 / 2**0.5), 2),
                (1024, 80, 0, 1),
            ],
            "lars": [(32, 91, 0, 1), (1024, 95, 0, 1)],
        }
    }
    names = {path.name for path in write_plots(workdir)}
    assert "val_accuracy_against_batch_size.png" in names


def test_a_tunings_rates(workdir_of):
    workdir = workdir_of({"sgd_32_rate_0_01": [0.9], "sgd_32_rate_2": [0.8]})
    result = sweeps(read_replication_folder(workdir).runs, "val_accuracy")
    assert result == {"learning_rate": {"sgd_32": [(0.01, 90, 0, 1), (2, 80, 0, 1)]}}
    names = {path.name for path in write_plots(workdir)}
    assert "val_accuracy_against_learning_rate.png" in names


@pytest.mark.parametrize(
    "accuracies",
    [
        {"original": [0.9], "sgd_32": [0.9]},  # one arm has no number
        {"sgd_32": [0.9], "lars_64": [0.9]},  # no line has two points
        {"sgd_32": [0.9], "sgd_64": [None]},
        {"sgd_32_trial_0": [0.9], "sgd_32_trial_1": [0.8]},  # settings of several kinds
    ],
)
def test_no_picture_of_other_arms(workdir_of, accuracies):
    workdir = workdir_of(accuracies)
    assert sweeps(read_replication_folder(workdir).runs, "val_accuracy") == {}
    assert not any("batch_size" in path.name for path in write_plots(workdir))
