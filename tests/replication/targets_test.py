"""Targets: what runs spent until they reached a value, from histories to report and verdict.

The runs are artificial: real record files with the evaluations that a case needs.
"""

import json

import pytest

from lbkeras import metrics
from lbkeras.cli.config_files import load_config
from lbkeras.config import complete
from lbkeras.derived import derived, target_name
from lbkeras.errors import UserError
from lbkeras.replication import Claim, build_report, format_table, read_run, verdict, write_report
from lbkeras.replication.plots.sweep import sweeps
from lbkeras.replication.replication_folder import read_replication_folder, write_replication
from lbkeras.replication.selection import select_arms
from lbkeras.runs import experiment
from lbkeras.runs.record import append_history_row, write_record
from lbkeras.runs.several import outcome

STEM = "val_accuracy_at_least_0.9"
EPOCHS, UPDATES, SECONDS = (f"{spent}_to_{STEM}" for spent in ("epochs", "updates", "seconds"))
LOW, HIGH = 0.5, 0.95


def write_made_run(path, accuracies, steps=10, seconds=2.0, status="finished"):
    """Writes a run's folder with an accuracy per epoch; `...`: not evaluated."""
    path.mkdir(parents=True)
    for epoch, accuracy in enumerate(accuracies):
        row = {"epoch": epoch, "updates": steps * (epoch + 1), "examples_seen": 100 * (epoch + 1)}
        row |= {"batch_size": 100, "learning_rate": 0.1, "loss": 1.0, "seconds": seconds}
        row |= {} if accuracy is ... else {"val_accuracy": accuracy, "val_loss": 1 - accuracy}
        append_history_row(path / "history.jsonl", row)
    last = [each for each in accuracies if each is not ...][-1]
    record = {"status": status, "updates": steps * len(accuracies), "seconds": 1.0}
    record |= {"examples_seen": 100, "final": {"val_accuracy": last}, "test_examples": 100}
    write_record(path, record)


def made_folder(path, arms, *, claims=(), metric="val_accuracy", **more):
    """Writes a replication of 8 epochs.

    `arms` maps an arm to the epoch at which each of its seeds reaches 0.9; None: never.
    """
    for arm, seeds in arms.items():
        for seed, reached in enumerate(seeds):
            accuracies = [LOW] * 8
            if reached:
                accuracies[reached - 1 :] = [HIGH] * (9 - reached)
            write_made_run(path / arm / f"seed_{seed}", accuracies)
    replication = {"title": "made", "arms": {arm: {} for arm in arms}, "claims": list(claims)}
    replication |= {"seeds": list(range(len(next(iter(arms.values()))))), "metric": metric}
    write_replication(path, replication | {"targets": [STEM]} | more)
    return path


def claim(test="worse", metric=EPOCHS, **more):
    return Claim("c", "A statement.", test, "arm", "base", metric=metric, **more).to_dict()


def result_of(path, arm, base, **more):
    folder = made_folder(path, {"base": base, "arm": arm}, claims=[claim(**more)])
    return build_report(folder)["claims"][0]["result"]


def test_the_first_evaluation_that_reaches_it_counts(tmp_path):
    write_made_run(tmp_path / "run", [0.5, 0.9, 0.7, 0.95], steps=10, seconds=2.0)
    run = read_run(tmp_path / "run")
    assert [run.value(name) for name in (EPOCHS, UPDATES, SECONDS)] == [2, 20, 4.0]
    assert run.value("epochs_to_val_loss_at_most_0.07") == 4
    assert run.value("epochs_to_val_accuracy_at_least_0.96") is None
    assert run.bound("epochs_to_val_accuracy_at_least_0.96") == 4
    assert run.value("updates_to_loss_at_most_1.0") == 10  # works for training metrics too
    assert run.bound("val_accuracy") is None


def test_with_evaluations_every_few_epochs_the_resolution_is_their_interval(tmp_path):
    write_made_run(tmp_path / "run", [..., 0.5, ..., ..., ..., 0.95, 0.2, ...])
    run = read_run(tmp_path / "run")
    assert (run.value(EPOCHS), run.resolution(EPOCHS)) == (6, 4)
    assert (run.value(UPDATES), run.resolution(UPDATES)) == (60, 40)
    missed = "epochs_to_val_accuracy_at_least_0.99"
    assert (run.value(missed), run.bound(missed)) == (None, 7)  # until the last evaluation
    assert run.resolution("val_accuracy") == 0.01 and run.resolution("val_loss") is None


def test_a_history_without_the_spent_column_is_refused():
    rows = [{"epoch": 0, "val_accuracy": 0.95}]
    assert derived(EPOCHS).compute(rows) == 1
    with pytest.raises(UserError, match="history: expected 'seconds' in every epoch"):
        derived(SECONDS).compute(rows)


@pytest.mark.parametrize("value", [0.759, 1e-05, 2, -0.5, 12345.678])
def test_names_hold_the_value_exactly(value):
    assert derived(f"seconds_to_{target_name('val_loss', value, 'lower')}").target == value


def test_labels_and_units():
    of = metrics.of(UPDATES)
    assert (of.label, of.unit, of.better) == (
        "updates to test accuracy of at least 90 %",
        "",
        "lower",
    )
    assert metrics.of(SECONDS).unit == "s, training"
    assert (
        metrics.of("epochs_to_val_loss_at_most_0.25").label == "epochs to test loss of at most 0.25"
    )
    with pytest.raises(UserError, match="a share of the examples, received 75.9"):
        metrics.of("epochs_to_val_accuracy_at_least_75.9")


def test_summaries_say_how_many_reached_it(tmp_path):
    made = made_folder(tmp_path, {"all": [2, 3, 4], "two": [2, 3, None], "one": [None, 2, None]})
    arms = build_report(made)["arms"]
    summaries = {arm: values["targets"][STEM]["epochs"] for arm, values in arms.items()}
    assert summaries["all"]["mean"] == 3 and summaries["all"]["standard_deviation"] == 1
    assert [summaries[arm]["reached"] for arm in arms] == [3, 2, 1]
    assert [summaries[arm]["n"] for arm in arms] == [3, 3, 3]
    assert [summaries[arm]["mean"] for arm in arms] == [3, None, None]
    assert [summaries[arm]["max"] for arm in arms] == [4, None, None]
    assert [summaries[arm]["median"] for arm in arms] == [3, 3, None]
    assert summaries["two"]["values"] == [2, 3, None]
    json.loads(json.dumps(arms, allow_nan=False))
    assert arms["two"]["seeds"]["finished"] == [0, 1, 2]


def test_reports_show_targets(tmp_path, monkeypatch):
    monkeypatch.setattr("lbkeras.replication.pictures.write_plots", lambda *arguments: [])
    made = made_folder(tmp_path, {"all": [2, 3, 4], "two": [2, 3, None], "one": [None, 2, None]})
    report = write_report(made)
    text = (made / "report.md").read_text()
    assert "Spent until a test accuracy of at least 90 %, up to" in text
    assert "| `all` | 3 of 3 | 30 ± 10 | 3 ± 1 | 6 ± 2 |" in text
    assert "| `two` | 2 of 3 | median 30 | median 3 | median 6 |" in text
    assert "| `one` | 1 of 3 | – | – | – |" in text
    lines = format_table(report).splitlines()
    begin = lines.index("until a test accuracy of at least 90 %:")
    assert lines[begin + 1 : begin + 4] == [
        "  all: 30 ± 10 updates, 3 ± 1 epochs, 6 ± 2 seconds",
        "  two: reached by 2 of 3, median 30 updates",
        "  one: reached by 1 of 3",
    ]


def test_a_target_can_be_the_reports_metric(tmp_path, monkeypatch):
    monkeypatch.setattr("lbkeras.replication.pictures.write_plots", lambda *arguments: [])
    arms = {"a_10": [2, 3, 4], "a_20": [2, 3, None], "never": [None] * 3}
    report = write_report(made_folder(tmp_path / "never", arms, metric=EPOCHS))
    assert "| `a_10` | n=3 | 3 ± 1 | 2 to 4 |" in (tmp_path / "never/report.md").read_text()
    assert "reached by 0 of 3" in format_table(report)
    del arms["never"]
    made = made_folder(tmp_path / "some", arms, metric=EPOCHS)
    report = build_report(made)
    assert [arm["metric"]["mean"] for arm in report["arms"].values()] == [3, None]
    text = format_table(report)
    assert "3 ± 1" in text and "reached by 2 of 3, median 3" in text
    assert " epochs to target " in text and "\ntarget: test accuracy of at least 90 %\n" in text
    assert max(map(len, text.splitlines()[:6])) <= 80
    folder = read_replication_folder(made)  # a mean of those that reached it would favor the arm
    assert sweeps(folder.runs, EPOCHS) == {} and sweeps(folder.runs, "val_accuracy") != {}


def test_a_setting_with_a_seed_that_did_not_reach_it_is_not_selected(tmp_path):
    made = made_folder(tmp_path, {"a_rate_1": [8, 8], "a_rate_2": [1, None]}, metric=EPOCHS)
    assert select_arms(build_report(made)) == {"a": "a_rate_1"}


def test_if_all_reached_it_the_usual_test_is_made(tmp_path):
    result = result_of(tmp_path, arm=[6, 7, 7], base=[2, 3, 2])
    assert result["verdict"] == "supported" and result["effect"] == pytest.approx(13 / 3)
    assert "effect_is" not in result and result["confidence_interval"]


def test_equal_epochs_have_the_spread_of_an_evaluation(tmp_path):
    result = result_of(tmp_path, arm=[6, 6, 6], base=[3, 3, 3])
    assert result["verdict"] == "supported"
    assert "spread raised to one evaluation" in result["reason"]
    assert result_of(tmp_path / "1", arm=[4, 4, 4], base=[3, 3, 3])["verdict"] == "inconclusive"


def test_a_reason_says_what_is_spent_to_reach_which_target(tmp_path):
    more = result_of(tmp_path, test="ratio_at_least", ratio=0.8, arm=[6, 7, 7], base=[2, 3, 2])
    assert more["reason"].startswith(
        "arm needs more than 1.25x the epochs of base to reach a test accuracy of at least 90 % ("
    )
    fewer = result_of(
        tmp_path / "1", test="ratio_at_least", ratio=1.5, arm=[2, 3, 2], base=[11, 12, 11]
    )
    assert fewer["reason"].startswith(
        "base needs at least 1.5x the epochs of arm to reach a test accuracy of at least 90 % ("
    )
    worse = result_of(tmp_path / "2", test="not_worse", margin=1.0, arm=[6, 7, 7], base=[2, 3, 2])
    assert worse["reason"].startswith("arm is more than 1 epoch worse than base (epochs to test")


NEVER = [None] * 3


@pytest.mark.parametrize(
    ("test", "more", "arm", "base", "expected", "bound"),
    [
        # An arm that never reaches it is worse; nothing in its favor is supported.
        ("worse", {}, NEVER, [2, 3, 2], "supported", "at least"),
        ("not_worse", {"margin": 1.0}, NEVER, [2, 3, 2], "not supported", "at least"),
        ("equivalent", {"margin": 1.0}, NEVER, [2, 3, 2], "inconclusive", "at least"),
        ("ratio_at_least", {"ratio": 1.0}, NEVER, [2, 3, 2], "not supported", "at most"),
        # The arm always reaches it and the baseline never: the opposite.
        ("worse", {}, [2, 3, 2], NEVER, "not supported", "at most"),
        ("not_worse", {"margin": 1.0}, [2, 3, 2], NEVER, "supported", "at most"),
        ("ratio_at_least", {"ratio": 1.0}, [2, 3, 2], NEVER, "supported", "at least"),
        # What these seeds spent would decide it, but is no evidence in favor of their own arm.
        ("not_worse", {"margin": 7.0}, [2, 2, None], [2, 3, 2], "inconclusive", "at least"),
        ("ratio_at_least", {"ratio": 0.1}, [2, 2, None], [2, 3, 2], "inconclusive", "at most"),
        ("worse", {"margin": 7.0}, [2, 2, None], [2, 2, 2], "inconclusive", "at least"),
        ("not_worse", {"margin": 7.0}, NEVER, NEVER, "inconclusive", None),
    ],
)
def test_a_run_that_did_not_reach_it_never_speaks_for_its_arm(
    tmp_path, test, more, arm, base, expected, bound
):
    result = result_of(tmp_path, arm, base, test=test, **more)
    assert (result["verdict"], result["effect_is"]) == (expected, bound)
    assert result["confidence_interval"] is None
    assert (result["effect"] is None) == (bound is None)
    assert (
        f"counted with what they spent: {'arm' if None in arm else 'base'} seed"
        in (result["reason"])
    )


def test_seeds_that_did_not_reach_it_rule_out_a_verdict():
    """The same numbers decide if all seeds have reached it."""
    made = Claim("c", "A statement.", "not_worse", "arm", "base", metric=EPOCHS, margin=4.0)
    values = {0: 8.0, 1: 7.0, 2: 8.0}, {0: 8.0, 1: 8.0, 2: 7.0}
    assert verdict(made, *values)["verdict"] == "supported"
    barred = verdict(made, *values, unreached_arm=[0, 2])
    assert barred["verdict"] == "inconclusive"
    assert "but a seed of arm did not reach the target, which rules out" in barred["reason"]


def test_a_diverged_run_is_left_out_and_rules_out_support(tmp_path):
    folder = made_folder(tmp_path, {"base": [2, 3, 2], "arm": [2, 3, 2]}, claims=[claim(
        "not_worse", margin=4.0)])  # fmt: skip
    assert build_report(folder)["claims"][0]["result"]["verdict"] == "supported"
    record = json.loads((tmp_path / "arm/seed_1/record.json").read_text())
    write_record(tmp_path / "arm/seed_1", record | {"status": "diverged"})
    report = build_report(folder)
    assert report["claims"][0]["result"]["verdict"] == "inconclusive"
    summary = report["arms"]["arm"]["targets"][STEM]["epochs"]
    assert (summary["n"], summary["reached"]) == (2, 2)


def test_the_effect_is_shown_as_a_bound(tmp_path):
    from lbkeras.replication.markdown import render_claims

    folder = made_folder(tmp_path, {"base": [2, 3, 2], "arm": NEVER}, claims=[claim()])
    text = render_claims(build_report(folder))
    assert "| at least +5.667 |" in text
    assert "A seed that did not reach a target counts with what it spent" in text


def test_the_line_of_a_run_shows_the_target(tmp_path):
    class Run:
        folder, metric = tmp_path / "run", EPOCHS

    write_made_run(Run.folder, [LOW, LOW])
    assert outcome(Run).startswith("epochs to test accuracy of at least 90 % not reached after 20 ")
    Run.folder = tmp_path / "other"
    write_made_run(Run.folder, [LOW, HIGH])
    assert outcome(Run).startswith("epochs to test accuracy of at least 90 % 2 after 20 updates")


def _config(**more):
    data = {"name": "digits", "num_examples": 1437}
    plan = {"name": "cosine_plan", "epochs": 2, "batch_size": 32, "learning_rate": 0.1}
    return complete({"data": data, "model": {"name": "mlp"}, "plan": plan} | more)


def test_a_config_has_targets():
    assert experiment.report_targets(_config()) == []
    config = _config(targets={"val_accuracy": 0.9, "val_loss": 0.1})
    expected = ["val_accuracy_at_least_0.9", "val_loss_at_most_0.1"]
    assert experiment.report_targets(config) == expected
    own = {"score": {"name": "mine:score", "better": "lower"}}
    config = _config(targets={"val_score": 2.0}, metrics=own)
    assert experiment.report_targets(config) == ["val_score_at_most_2.0"]


@pytest.mark.parametrize(
    ("targets", "more", "message"),
    [
        (
            {"val_acuracy": 0.9},
            {},
            r"config\.targets: expected one of .* 'val_acuracy' \(did you mean",
        ),
        ({"val_accuracy": 90.0}, {}, "above 0 and up to 1, a share of the examples, received 90"),
        (
            {"val_accuracy": "much"},
            {},
            r"config\.targets\.val_accuracy: expected a number, received",
        ),
        ({"updates": 90}, {}, r"config\.targets: expected one of "),
        (
            {"val_mine": 2.0},
            {"metrics": {"mine": {"name": "mine:f"}}},
            r"config\.targets\.val_mine: expected a metric whose better direction is known",
        ),
    ],
)
def test_an_unusable_target_is_refused(targets, more, message):
    with pytest.raises(UserError, match=message):
        experiment.report_targets(_config(targets=targets, **more))


def test_a_config_of_a_paper_has_no_targets_by_default(request):
    path = request.config.rootpath / "configs/papers/you2017_lars.py"
    assert load_config(f"{path}:digits").targets.to_dict() == {}


def test_a_malformed_target_in_a_folder_is_refused(tmp_path):
    made = made_folder(tmp_path, {"a": [2]}, targets=["val_accuracy"])
    with pytest.raises(
        UserError, match=r"expected targets such as 'val_accuracy_at_least_0.9', rec"
    ):
        build_report(made)
