import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lbkeras.errors import UserError
from lbkeras.replication import build_report, format_table, write_report
from lbkeras.replication.markdown import render_claims

WRITTEN_BY_0_1_0 = Path(__file__).parents[1] / "written_by_0_1_0"


def test_every_outcome_is_counted(full_workdir):
    report = build_report(full_workdir)
    seeds = {arm: values["seeds"] for arm, values in report["arms"].items()}
    assert seeds == {
        "original": {"finished": [0, 1, 2], "diverged": [], "unfinished": [], "not_run": []},
        "increase_batch": {"finished": [0, 1], "diverged": [2], "unfinished": [], "not_run": []},
        "increase_learning_rate": {
            "finished": [0],
            "diverged": [],
            "unfinished": [1],
            "not_run": [2],
        },
    }
    assert [(r["arm"], r["seed"], r["status"]) for r in report["runs_not_finished"]] == [
        ("increase_batch", 2, "diverged"),
        ("increase_learning_rate", 1, "interrupted"),
        ("increase_learning_rate", 2, "not run"),
    ]


def test_numbers_come_from_the_records(full_workdir):
    arms = build_report(full_workdir)["arms"]
    finals = [
        json.loads((full_workdir / f"original/seed_{seed}/record.json").read_text())
        for seed in range(3)
    ]
    values = [record["final"]["val_accuracy"] for record in finals]
    summary = arms["original"]["metric"]
    mean = sum(values) / 3
    assert summary["values"] == values
    assert summary["mean"] == pytest.approx(mean)
    variance = sum((value - mean) ** 2 for value in values) / 2
    assert summary["standard_deviation"] == pytest.approx(variance**0.5)
    assert (summary["min"], summary["max"]) == (min(values), max(values))
    assert summary["median"] == sorted(values)[1]
    # 60 epochs of ceil(1437 / 32) = 45 updates; 20 each of 45, ceil(1437/160) = 9, 2.
    assert arms["original"]["updates"]["mean"] == 2700
    assert arms["increase_batch"]["updates"]["mean"] == 20 * (45 + 9 + 2)
    assert arms["increase_batch"]["updates_ratio"] == pytest.approx(2700 / 1120)
    assert arms["original"]["updates_ratio"] == 1
    assert arms["increase_batch"]["batch_size"] == {"first": 32, "last": 800}
    assert arms["original"]["learning_rate"] == {"first": 0.1, "last": 0.004}
    assert arms["original"]["paper"]["updates"] == 80000
    assert arms["increase_learning_rate"]["metric"]["standard_deviation"] is None


def test_claims_have_verdicts(make_workdir):
    workdir = make_workdir({"original": ["finished"] * 3, "increase_batch": ["finished"] * 3})
    results = [claim["result"] for claim in build_report(workdir)["claims"]]
    assert [result["verdict"] for result in results] == ["supported", "supported"]
    assert results[1]["effect"] == pytest.approx(2700 / 1120)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({"original": ["finished"], "increase_batch": ["finished"]}, "inconclusive"),
        ({"original": ["finished"] * 2, "increase_batch": [None] * 2}, "not run"),
        ({"original": ["finished"] * 2, "increase_batch": ["diverged"] * 2}, "not supported"),
        ({"original": ["finished"] * 2, "increase_batch": ["running"] * 2}, "not run"),
    ],
)
def test_verdict_on_what_was_run(make_workdir, statuses, expected):
    report = build_report(make_workdir(statuses))
    assert report["claims"][0]["result"]["verdict"] == expected


def test_accuracies_that_coincide_are_judged_by_the_size_of_the_test_set(make_workdir):
    claim = {"name": "same", "statement": "s", "test": "equivalent", "margin": 0.01}
    claim |= {"arm": "increase_batch", "baseline": "original"}
    runs = {"original": ["finished"] * 3, "increase_batch": ["finished"] * 3}
    workdir = make_workdir(runs, claims=[claim])
    for path in workdir.glob("*/seed_*/record.json"):
        record = json.loads(path.read_text()) | {"final": {"val_accuracy": 0.96}}
        path.write_text(json.dumps(record))

    def result():
        return build_report(workdir)["claims"][0]["result"]

    assert result()["verdict"] == "inconclusive"
    assert "the number of examples it was measured on is not known" in result()["reason"]
    for path in workdir.glob("*/seed_*/record.json"):
        # The coarsest resolution decides: one example of 50 is two points.
        few = 50 if path.parts[-3:-1] == ("original", "seed_1") else 10_000
        path.write_text(json.dumps(json.loads(path.read_text()) | {"test_examples": few}))
    assert result()["p_value"] > 0.05
    for path in workdir.glob("*/seed_*/record.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"test_examples": 360}))
    assert result()["verdict"] == "supported"
    assert "spread raised to one example" in result()["reason"]


def test_claims_are_corrected_together(make_workdir):
    """A second claim, not run, doubles the corrected p-value of the first."""

    def change(content):
        first = content["claims"][0]
        content["claims"] = [first, first | {"name": "other", "arm": "other"}]

    runs = {"original": ["finished"] * 3, "increase_batch": ["finished"] * 3, "other": [None]}
    workdir = make_workdir(runs)
    edited(workdir, change)
    report = build_report(workdir)
    result = report["claims"][0]["result"]
    assert result["p_value_corrected"] == pytest.approx(2 * result["p_value"])
    assert "3 pairs" in render_claims(report)


def test_missing_seeds_are_named_in_the_reason(full_workdir):
    claim = {"name": "c", "statement": "s", "test": "worse", "baseline": "original"}
    claim["arm"] = "increase_learning_rate"
    replication = json.loads((full_workdir / "replication.json").read_text())
    (full_workdir / "replication.json").write_text(json.dumps(replication | {"claims": [claim]}))
    reason = build_report(full_workdir)["claims"][0]["result"]["reason"]
    assert "n=1" in reason
    assert "increase_learning_rate seed 1, 2" in reason


def test_a_finished_run_without_a_finite_metric_counts_as_diverged(make_workdir):
    workdir = make_workdir({"original": ["finished"] * 2})
    path = workdir / "original/seed_1/record.json"
    record = json.loads(path.read_text())
    record["final"]["val_accuracy"] = None
    path.write_text(json.dumps(record))
    workdir_claims = json.loads((workdir / "replication.json").read_text()) | {"claims": []}
    (workdir / "replication.json").write_text(json.dumps(workdir_claims))
    assert build_report(workdir)["arms"]["original"]["seeds"]["diverged"] == [1]


def test_notes_txt_goes_into_the_report(make_workdir, no_curves):
    workdir = make_workdir({"original": ["finished"]}, seeds=[0], claims=[])
    (workdir / "notes.txt").write_text("The machine was busy.\n\n  Second note. \n")
    assert write_report(workdir)["notes"] == ["The machine was busy.", "Second note."]
    assert "- note: The machine was busy." in (workdir / "report.md").read_text()


def test_a_replication_written_by_0_1_0_is_reported_the_same(tmp_path, only_the_schedule):
    shutil.copytree(WRITTEN_BY_0_1_0 / "tiny", tmp_path / "tiny")
    then = json.loads((tmp_path / "tiny/report.json").read_text())
    report = write_report(tmp_path / "tiny")
    for arm, seeds in then["arms"].items():
        assert {key: report["arms"][arm][key] for key in seeds} == seeds
        assert report["arms"][arm]["metric"]["n"] == 2
    assert list(report["arms"]) == ["small", "grows"]
    for key in ("title", "command", "paper", "seeds", "date", "hardware", "versions"):
        assert report[key] == then[key], key
    assert [claim["name"] for claim in report["claims"]] == ["keeps", "fewer"]
    assert (tmp_path / "tiny/plots/schedule.png").exists()


def test_the_report_is_written(full_workdir, only_the_schedule):
    report = write_report(full_workdir)
    assert json.loads((full_workdir / "report.json").read_text()) == report
    text = (full_workdir / "report.md").read_text()
    for expected in (
        "94.30 [T]",
        "80,000 [T]",
        "from a secondary text",
        "94.40 %; 94.30 %",
        "n=2, 1 diverged",
        "(n=1)",
        "lbkeras replicate --config=configs/papers/smith2018.py:digits",
        "Holm's method",
        "2 and 3, 2 pairs",
        "2025-03-01 to 2025-03-03",
        "`increase_learning_rate` seed 2: not run",
        "![schedule](plots/schedule.png)",
    ):
        assert expected in text
    assert not list(full_workdir.rglob("*.tmp"))


def test_a_report_before_any_run(make_workdir, no_curves):
    workdir = make_workdir({"original": [None, None], "increase_batch": [None, None]})
    report = write_report(workdir)
    assert [claim["result"]["verdict"] for claim in report["claims"]] == ["not run"] * 2
    assert "`original` has no finished run" in (workdir / "report.md").read_text()
    assert "not run" in format_table(report)


def test_importing_is_cheap():
    code = (
        "import sys, lbkeras.replication as r; r.build_report; r.write_report; r.verdict; "
        "r.write_plots; r.render_results; "
        "bad = {'matplotlib', 'scipy', 'numpy', 'tensorflow'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def edited(workdir, change):
    file = workdir / "replication.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(metric="../../x/val_accuracy"),
        lambda content: content.update(metric=".hidden"),
        lambda content: content["arms"].update({"../other": {}}),
        lambda content: content.update(seeds=["../0"]),
        lambda content: content.update(claims=3),
    ],
)
def test_names_that_point_outside_the_folder_are_refused(full_workdir, change):
    edited(full_workdir, change)
    before = sorted(full_workdir.parent.rglob("*"))
    with pytest.raises(
        UserError,
        match="replication.json: expected (arms and a metric|distinct integers|a list)",
    ):
        write_report(full_workdir)
    assert sorted(full_workdir.parent.rglob("*")) == before


def test_untrusted_texts_are_escaped(full_workdir, no_curves):
    text = "<script>alert(1)</script> ![x](http://example.com/x.png)\x1b[2Jnext\n# heading | cell"
    edited(full_workdir, lambda content: content.update(title=text, dataset_description=text))
    report = write_report(full_workdir)
    assert report["title"] == text  # the data are unchanged
    shown = (full_workdir / "report.md").read_text()
    assert "<script>" not in shown and "](http" not in shown and "\x1b" not in shown
    first = shown.splitlines()[0]
    assert first.startswith("# &lt;script>alert(1)&lt;/script> !") and "# heading ∣ cell" in first
    table = format_table(report)
    assert "\x1b" not in table and table.splitlines()[0].startswith("<script>")
