"""Values derived from a history: from the rows, in a run's folder, in claims and in reports."""

import statistics

import pytest

from lbkeras import metrics
from lbkeras.cli.config_files import load_config
from lbkeras.derived import derived
from lbkeras.errors import UserError
from lbkeras.replication import build_report, read_run
from lbkeras.runs import experiment
from lbkeras.runs.record import append_history_row, write_record

MEDIAN = "val_accuracy_median_of_last_5"


def _rows(values):
    """Returns one epoch per value; `...` is an epoch without evaluation."""
    columns = [{} if value is ... else {"val_accuracy": value} for value in values]
    return [{"epoch": epoch, "loss": 1.0} | column for epoch, column in enumerate(columns)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.9, 0.1, 0.2, 0.6, 0.4, 0.5], 0.4),
        ([0.1, ..., 0.2, ..., 0.6, ..., 0.4, ..., 0.5], 0.4),  # evaluated every second epoch
        ([0.1, 0.2, 0.3, 0.5], 0.25),  # a shorter run
        ([0.1, 0.2, None, 0.4, 0.5], None),  # not finite
        ([None, 0.1, 0.2, 0.3, 0.4, 0.5], 0.3),
        ([], None),
    ],
)
def test_the_median_of_the_last_five_epochs(values, expected):
    assert derived(MEDIAN).compute(_rows(values)) == expected


@pytest.mark.parametrize("name", ["val_accuracy", "_median_of_last_5", "median_of_last_5"])
def test_other_names_derive_nothing(name):
    assert derived(name) is None


def test_it_is_shown_as_the_column_it_comes_from():
    of = metrics.of(MEDIAN)
    assert (of.label, of.unit, of.better, of.cost) == (
        "median-of-5 test accuracy", "%", "higher", False,
    )  # fmt: skip
    assert metrics.of("val_loss_median_of_last_3").better == "lower"
    settings = {"optimizer": {}, "metrics": {"AUC": {}, "own": {"name": "m:f", "better": "lower"}}}
    assert metrics.better("val_auc_median_of_last_5", settings) == "higher"
    assert metrics.better("val_own_median_of_last_5", settings) == "lower"


def test_a_run_folder_computes_it_from_its_history(tmp_path):
    for row in _rows([0.1, 0.5, 0.3, 0.2, 0.4]):
        append_history_row(tmp_path / "history.jsonl", row)
    write_record(tmp_path, {"status": "finished", "final": {"val_accuracy": 0.4}})
    run = read_run(tmp_path)
    assert run.value(MEDIAN) == 0.3 and run.value("val_accuracy") == 0.4
    assert run.value("val_accuracy_median_of_last_2") == pytest.approx(0.3)
    assert run.value("loss_median_of_last_1") == 1.0
    message = r"metric 'val_auc_median_of_last_5', received only .*METRIC_median_of_last_N"
    with pytest.raises(UserError, match=message):
        run.value("val_auc_median_of_last_5")


def test_a_config_may_report_it_and_a_wrong_column_is_named(request):
    path = request.config.rootpath / "configs/papers/goyal2017.py"
    config = load_config(f"{path}:digits")
    config.metric = MEDIAN
    assert experiment.report_metric(config) == (MEDIAN, "higher")
    for wrong in ("val_auc_median_of_last_5", f"{MEDIAN}_0"):
        config.metric = wrong
        with pytest.raises(
            UserError, match=r"^config\.metric of arm small_batch: expected one of "
        ):
            experiment.report_metric(config)
    config.metric = "loss_median_of_last_0"
    with pytest.raises(UserError, match="loss_median_of_last_N: N: expected a whole number of"):
        experiment.report_metric(config)


def test_a_kept_replication_can_be_reported_by_it_with_a_verdict(request):
    """A report of real runs: digits, Goyal et al., 5 seeds."""
    from dataclasses import replace

    from lbkeras.replication.replication_folder import read_replication_folder
    from lbkeras.replication.report import _build

    folder = read_replication_folder(request.config.rootpath / "results/goyal2017_digits")
    claim = replace(folder.claims[0], metric=MEDIAN)
    replication = folder.replication | {"metric": MEDIAN}
    report = _build(replace(folder, replication=replication, claims=[claim]))
    runs = folder.runs["small_batch"]
    expected = [
        statistics.median([row["val_accuracy"] for row in run.history][-5:])
        for run in runs.values()
    ]
    assert report["arms"]["small_batch"]["metric"]["values"] == expected
    others = report["arms"]["gradual_warmup"]["metric"]["values"]
    effect = statistics.fmean(others) - statistics.fmean(expected)
    assert report["claims"][0]["result"]["effect"] == pytest.approx(effect)
    assert report["metric"] == MEDIAN != build_report(folder.path)["metric"]
