"""Compares the measurements that `lbkeras configs` shows with reports and old sections."""

import json
from pathlib import Path

import pytest

from lbkeras.replication import measured
from lbkeras.replication.report import build_report

ROOT = Path(__file__).parents[2]


def test_of_a_report(full_workdir):
    report = build_report(full_workdir)
    report |= {"variant": "digits", "paper": {"arxiv": "1711.00489"}}
    found = measured.of_report(report)
    arm = report["arms"][report["baseline"]]
    assert (found["arxiv"], found["variant"]) == ("1711.00489", "digits")
    assert found["arm"] == report["baseline"] and found["n"] == arm["metric"]["n"]
    assert found["mean"] == pytest.approx(arm["metric"]["mean"], abs=1e-5)
    times = [each["seconds"]["values"] for each in report["arms"].values()]
    assert found["runs"] == sum(map(len, times))
    assert found["seconds"] == pytest.approx(sum(map(sum, times)), abs=0.5)
    assert all("run" not in each for each in found["hardware"])
    verdicts = [claim["result"]["verdict"] for claim in report["claims"]]
    assert found["claims"] == {word: verdicts.count(word) for word in verdicts}
    assert measured.of_report(report | {"variant": ""}) is None
    assert measured.of_report(report | {"paper": None}) is None


def test_of_a_section_whose_records_are_gone():
    text = (ROOT / "results/smith2018_mnist/section.md").read_text(encoding="utf-8")
    assert measured.of_section(text) == dict(
        arxiv="1711.00489",
        variant="mnist",
        date="2026-11-20 to 2026-11-21",
        hardware=["x86_64 AMD EPYC, 2 CPUs, 25.3 GB memory, no accelerator"],
        runs=18,
        seconds=round(3 * (89.3 + 103.5 + 90.8 + 119.2 + 106.8 + 104.0)),
        claims={"supported": 6, "inconclusive": 1},
        arm="original",
        n=3,
        updates=9360,
        metric="val_accuracy",
        mean=0.9881,
        standard_deviation=0.0012,
    )
    assert measured.of_section("## GPU\n\nother measurements") is None


def test_the_result_with_the_most_runs_counts():
    few, many = ({"arxiv": "1", "variant": "digits", "runs": runs} for runs in (4, 20))
    other = {"arxiv": "0", "variant": "mnist", "runs": 1}
    assert measured.by_paper({"a": many, "b": few, "c": other}) == {
        "0": {"mnist": {"results": "c", "runs": 1}},
        "1": {"digits": {"results": "a", "runs": 20}},
    }


def test_each_measurement_belongs_to_a_variant():
    from lbkeras.cli import paper_configs
    from lbkeras.cli.config_files import config_module

    modules = [config_module(str(path)) for path in paper_configs.files().values()]
    variants = {module.PAPER["arxiv"]: set(module.get_config.variants) for module in modules}
    kept = json.loads((ROOT / "configs/papers/measured.json").read_text(encoding="utf-8"))
    assert all(set(kept[paper]) <= variants[paper] for paper in kept)
