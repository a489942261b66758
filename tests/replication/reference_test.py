"""A recipe's reference: its points by arm, and how reports compare runs with it."""

from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.errors import UserError
from lbkeras.planning import polynomial_plan
from lbkeras.replication import build_report, format_table
from lbkeras.replication.markdown import render_arms
from lbkeras.replication.reference import FASTER, describe_reference, epochs_at
from lbkeras.runs import experiment
from tests.replication.targets_test import STEM, made_folder

MLPERF = Path(__file__).parents[2] / "configs" / "papers" / "mlperf2024_resnet50.py"
WAYS = {"val_accuracy": "higher", "val_mine": None}
GIVEN = dict(source="a log", tag="secondary", target={"val_accuracy": 0.9}, epochs={10: 4, 30: 6})


def plan(batch_size):
    return polynomial_plan(
        epochs=8, batch_size=batch_size, learning_rate=0.1, momentum=0.9, num_examples=100
    )


def folder(path, **arms):
    """A replication with artificial runs; batch size 10, in the last arm 20."""
    plans = {arm: plan(20 if arm == list(arms)[-1] else 10) for arm in arms}
    return made_folder(path, arms, reference=describe_reference(GIVEN, WAYS, plans))


def test_epochs_are_linear_between_batch_sizes_and_unknown_beyond():
    epochs = {4096: 40.0, 8192: 42.0, 13_056: 45.5}
    assert epochs_at(epochs, 8192) == (42.0, False)
    assert epochs_at(epochs, 5120) == (40.5, True)  # a quarter of the way
    assert epochs_at(epochs, 10_624) == (43.75, True)  # half of it
    assert epochs_at(epochs, 4095) is epochs_at(epochs, 13_057) is None


def test_the_points_of_mlperf():
    config = load_config(f"{MLPERF}:imagenet")
    given = config_module(str(MLPERF)).get_reference("imagenet")
    plans = experiment.make_plans(config)
    described = describe_reference(given, experiment.directions(config), plans)
    points = described["points"]
    assert described["target"] == "val_accuracy_at_least_0.759" and list(points) == list(plans)
    assert points["resnet50_lars_65536"] == dict(batch_size=65_536, epochs=85.0, interpolated=False)
    between = points["resnet50_lars_57344"]  # the submission that reached the target at epoch 77
    share = (57_344 - 49_152) / (58_880 - 49_152)
    assert between["interpolated"] and between["epochs"] == pytest.approx(68 + 12 * share)


def test_an_arm_whose_batch_grows_or_is_beyond_has_no_point():
    from lbkeras.planning import explicit_plan

    phases = [
        dict(first_epoch=e, epochs=1, batch_size=b, learning_rate=0.1, momentum=0.9)
        for e, b in ((0, 10), (1, 20))
    ]
    grows = explicit_plan(phases=phases, num_examples=100)
    described = describe_reference(GIVEN, WAYS, {"a": plan(10), "grows": grows, "large": plan(40)})
    assert list(described["points"]) == ["a"]


@pytest.mark.parametrize(
    ("epochs", "suspicious", "mean", "finding"),
    [
        ([4, 4, 5], False, 13 / 3, "not faster than the reference"),
        ([1, 1, 1], True, 1, FASTER),  # no spread: taken as one evaluation
        ([1, 4, 2], False, 7 / 3, "faster, but within the spread"),
        ([1], False, 1, "faster, but a single run decides nothing"),
        ([1, 1, None], False, None, "reached by 2 of 3"),  # not even from the two that reached it
        ([None, None], False, None, "reached by 0 of 2"),
    ],
)
def test_only_what_the_seeds_show_is_suspicious(tmp_path, epochs, suspicious, mean, finding):
    point = build_report(folder(tmp_path, a=epochs, z=epochs))["reference"]["points"]["a"]
    assert (point["suspicious"], point["finding"]) == (suspicious, finding)
    assert point["mean"] == (None if mean is None else pytest.approx(mean))
    assert point["n"] == len(epochs) and point["epochs"] == 4
    if point["p_value"] is not None:
        from scipy import stats

        if len(set(epochs)) > 1 and stats.tstd(epochs) > 1:  # else taken as an evaluation
            expected = stats.ttest_1samp(epochs, 4, alternative="less").pvalue
            assert point["p_value"] == pytest.approx(expected)


def test_reports_compare_runs_with_the_reference(tmp_path):
    report = build_report(folder(tmp_path, a=[1, 1, 1], b=[4, 5, 6], z=[2, 2, 8]))
    text = render_arms(report)
    assert "Epochs until a test accuracy of at least 90 %, compared with the recipe's own" in text
    assert f"| `a` | 10 | 4.0 | 1.0 | 3 of 3 | **{FASTER}** (p = 0.018) |" in text
    assert "| `b` | 10 | 4.0 | 5.0 | 3 of 3 | not faster than the reference (p = 0.887) |" in text
    assert "| `z` | 20 | 5.0 (interpolated) | 4.0 | 3 of 3 | faster, but within the" in text
    assert "The reference: [T] from a secondary text" in text
    lines = format_table(report).splitlines()
    assert "reference: a log" in lines
    assert f"  SUSPICIOUS: a: 1.0 epochs, reference 4.0; {FASTER}" in lines
    assert "  z: 4.0 epochs, reference 5.0 interpolated; faster, but within the spread" in lines


def test_without_a_reference_reports_mention_none(tmp_path):
    report = build_report(made_folder(tmp_path, {"a": [1, 2]}))
    assert "reference" not in report and "reference" not in format_table(report)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(target={"val_acc": 0.9}), "targets: expected one of .*val_accuracy"),
        (
            dict(target={"val_mine": 0.9}),
            "targets.val_mine: expected a metric whose better direction is known",
        ),
        (dict(target={}), "reference: expected one target, received {}"),
        (dict(more=1), "reference: expected the keys source, tag, target, epochs, received"),
    ],
)
def test_an_unusable_reference_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        describe_reference(GIVEN | change, WAYS, {"a": plan(10)})


@pytest.mark.parametrize(
    "reference",
    [
        [],
        {"target": "val_accuracy", "points": {}},
        {"target": STEM, "points": {"a": {"batch_size": 10}}},
        {"target": STEM, "points": {"a": 4}},
    ],
)
def test_a_malformed_reference_in_a_folder_is_refused(tmp_path, reference):
    with pytest.raises(UserError, match=r"replication\.json: .*reference"):
        build_report(made_folder(tmp_path, {"a": [1]}, reference=reference))
