"""`lbkeras plan`: the numbers of the paper, as a table and as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lbkeras
from lbkeras.cli.main import main

PAPER_UPDATES = {
    "original": 78_000,
    "increase_batch": 29_040,
    "hybrid": 34_320,
    "increased_learning_rate": 6_300,
    "increased_momentum": 2_160,
}
PHASE_KEYS = {
    "first_epoch", "epochs", "batch_size", "learning_rate", "momentum", "steps_per_epoch",
    "noise_scale",
}  # fmt: skip


@pytest.fixture
def arms(succeeds, smith):
    data = json.loads(succeeds("plan", f"--config={smith}:paper_cifar10", "--format=json"))
    assert list(data) == ["arms"]
    return data["arms"]


def test_json_has_the_updates_of_the_paper_in_the_configs_order(arms):
    assert {name: arms[name]["updates"] for name in PAPER_UPDATES} == PAPER_UPDATES
    assert list(arms) == [*PAPER_UPDATES, "large_batch_naive"]


def test_json_has_the_structure_of_the_contract(arms):
    for plan in arms.values():
        assert {"updates", "examples", "phases"} <= set(plan)
        assert all(set(phase) == PHASE_KEYS for phase in plan["phases"])
        steps = [phase["epochs"] * phase["steps_per_epoch"] for phase in plan["phases"]]
        batches = [phase["batch_size"] for phase in plan["phases"]]
        assert plan["updates"] == sum(steps)
        assert plan["examples"] == sum(s * b for s, b in zip(steps, batches, strict=True))


def test_noise_scale_falls_by_exactly_five_at_each_boundary(arms):
    for plan in arms.values():
        scales = [phase["noise_scale"] for phase in plan["phases"]]
        assert len(scales) == 4
        assert [a / b for a, b in zip(scales, scales[1:], strict=False)] == pytest.approx(
            [5.0] * 3, rel=1e-12
        )


def test_table_compares_the_updates_with_the_first_arm(succeeds, smith):
    table = succeeds("plan", f"--config={smith}:paper_cifar10")
    assert "increased_momentum" in table
    summary = [line.split() for line in table.splitlines() if "updates" in line]
    assert summary[0] == ["original", "78,000", "updates"]
    assert summary[1] == ["increase_batch", "29,040", "updates", "2.69x", "fewer"]


def test_overrides_reach_every_arm(succeeds, smith):
    flags = ["--config.plan.epochs=4", "--config.plan.boundaries=(1,2,3)", "--format=json"]
    arms = json.loads(succeeds("plan", f"--config={smith}:digits", *flags))["arms"]
    assert {sum(phase["epochs"] for phase in plan["phases"]) for plan in arms.values()} == {4}


def test_curves_are_shown_with_start_peak_and_end(succeeds, smith):
    config = Path(smith).parent / "goyal2017.py"
    rows = succeeds("plan", f"--config={config}:digits").splitlines()
    shown = {
        row.split()[0]: row for row in rows if len(row.split()) >= 7 and not row.startswith(" ")
    }
    assert shown["gradual_warmup"] != shown["constant_warmup"]
    assert "0.1→0.4" in shown["gradual_warmup"] and " to " in shown["gradual_warmup"]
    config = config.with_name("you2019_legw.py")
    rows = succeeds("plan", f"--config={config}:digits").split("\n\n")[0].splitlines()
    rates = [row[rows[0].index("batch") + 5 :].split()[0] for row in rows[1:]]
    assert "0" not in rates and any(rate.startswith("0→") for rate in rates)


def test_a_papers_config_copied_elsewhere(smith, tmp_path):
    """lbkeras is installed, and nothing of the clone is there."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/lbkeras").symlink_to(Path(lbkeras.__file__).parent)
    (tmp_path / "mine.py").write_text(Path(smith).read_text())
    run = subprocess.run(
        [sys.executable, "-m", "lbkeras", "plan", "--config=mine.py:digits"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert "increase_batch" in run.stdout and not run.stderr


PROBED = """
from lbkeras import config as common


def get_config():
    return common.experiment(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="small_cnn", num_classes=10, width=32),
        optimizer=dict(name="SGD"),
        plan=dict(
            name="noise_scale_plan",
            strategy="increase_batch",
            epochs=3,
            boundaries=(1, 2),
            factor=8.0,
            learning_rate=0.01,
            momentum=0.9,
            batch_size=64,
            max_batch_size=512,
        ),
        arms=ARMS,
    )
"""


@pytest.fixture
def probe(process, tmp_path, monkeypatch):
    """A function that returns what `lbkeras plan --probe` prints in a new process.

    A new process, as memory must be limited before TensorFlow starts.
    """
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # so that stderr is a user's
    config = tmp_path / "probed.py"
    config.write_text(PROBED.replace("ARMS", "dict(grown=dict(description='64, 512 and 512'))"))

    def probe(flag):
        started = process("plan", f"--config={config}", "--probe", flag)
        output, error = started.communicate(timeout=400)
        assert started.returncode == 0, error
        assert all(line.startswith("batch ") for line in error.splitlines()), error
        return output

    return probe


@pytest.mark.release  # the gate makes a dry run: tests/cli/dry_run_test.py
def test_probe_measures_each_batch_size_and_predicts_the_time(probe):
    unlimited = json.loads(probe("--format=json"))["arms"]["grown"]["phases"]
    for phase in unlimited:
        added = {"micro_batch_size", "memory_mb", "examples_per_second", "seconds"}
        assert set(phase) == PHASE_KEYS | added
        assert phase["examples_per_second"] > 0
        steps = phase["epochs"] * phase["steps_per_epoch"]
        assert phase["seconds"] >= 0.99 * steps * phase["batch_size"] / phase["examples_per_second"]
    assert [phase["micro_batch_size"] for phase in unlimited] == [64, 512, 512]
    assert unlimited[1]["memory_mb"] > unlimited[0]["memory_mb"] > 0


def test_probes_of_different_models_name_their_arms(tmp_path, capsys, monkeypatch):
    def probe_batch_sizes(task, plan, sizes, strategy, budget_mb, say):
        say(f"batch {sizes[0]}: trying")
        return {}

    monkeypatch.setattr("lbkeras.advice.probe.probe_batch_sizes", probe_batch_sizes)
    monkeypatch.setattr("lbkeras.devices.count_cpu_memory", lambda: None)
    monkeypatch.setattr("lbkeras.cli.plan.format_probes", lambda *arguments, **more: "")
    config = tmp_path / "several.py"
    for arms, said in (
        ("dict(a={}, b={}, c=dict(model=dict(width=8)))", "a, b: {0}\nc: {0}\n"),
        ("dict(a={}, b={})", "{0}\n"),
    ):
        config.write_text(PROBED.replace("ARMS", arms))
        assert main(["plan", f"--config={config}", "--probe"]) == 0
        assert capsys.readouterr().err == said.format("batch 64: trying")


@pytest.mark.release  # the gate tests the search alone: tests/advice/probe_test.py
def test_probe_finds_what_fits_into_the_memory_limit(probe):
    table = probe("--memory_limit_mb=15").split("\n\n")[2].splitlines()
    assert table[0].split() == (
        ["arm", "epochs", "batch", "micro-batch", "memory", "examples/s", "steps", "time"]
    )
    first, second, third = (row.split() for row in table[1:])
    assert first[:4] == ["grown", "1-1", "64", "64"]
    assert second[:2] == ["2-2", "512"] and third[:2] == ["3-3", "512"]
    assert 1 < int(second[2]) < 512 and int(second[3]) <= 15 and second[4] == "MB"
    assert second[6] == str(1437 // 512)


def test_flags_that_contradict_each_other(fails, smith, tmp_path):
    config = f"--config={smith}:digits"
    assert "--auto: expected --auto or --probe" in fails("plan", config, "--auto", "--probe")
    assert fails("plan", config, "--write=x.py") == (
        "--write: expected only together with --auto, received without it"
    )
    assert fails("plan", config, "--arm=original").startswith(
        "--arm: expected only together with --auto"
    )
    there = tmp_path / "there.py"
    there.write_text("")
    message = fails("plan", config, "--auto", f"--write={there}")
    assert message == f"--write: expected a new file, received '{there}', which already exists"
    assert "ends in .py" in fails("plan", config, "--auto", f"--write={tmp_path}")
    missing = tmp_path / "no" / "x.py"
    assert "a folder that exists" in fails("plan", config, "--auto", f"--write={missing}")
    assert "expected one of original" in fails("plan", config, "--auto", "--arm=orignal")


# In the gate, tests/advice/advise_test.py covers what is measured and recommended, and
# tests/advice/config_file_test.py covers what is written.
@pytest.mark.release
def test_auto_measures_and_writes_a_config_that_other_commands_take(
    process, forked, succeeds, smith, tmp_path
):
    file = tmp_path / "recommended.py"
    config = smith.replace("smith2018", "mccandlish2018_noise_scale")
    started = process(
        "plan", f"--config={config}:digits", "--config.plan.epochs=6", "--auto", "--format=json",
        f"--write={file}",
    )  # fmt: skip
    output, error = started.communicate(timeout=400)
    assert started.returncode == 0, error
    found = json.loads(output)["recommendation"]
    assert [row["batch_size"] for row in found["measured"]] == [8, 16]
    assert all(row["lower"] > 0 for row in found["measured"])
    assert found["updates"] < found["own_updates"] == 6 * (1437 // 8)
    assert found["predicted_seconds"] > 0 and len(found["reasons"]) >= 6
    sizes = {phase["batch_size"] for phase in found["plan"]["phases"]}
    assert sizes | {8} == {row["batch_size"] for row in found["batch_sizes"]}
    shown = json.loads(succeeds("plan", f"--config={file}", "--format=json"))["arms"]
    assert shown == {"recommended": found["plan"], "own": found["own_plan"]}
    run = tmp_path / "run"
    trained = forked("train", f"--config={file}", f"--workdir={run}")
    _, error = trained.communicate(timeout=400)
    assert trained.returncode == 0, error
    record = json.loads((run / "record.json").read_text())
    assert record["arm"] == "recommended" and record["updates"] == found["updates"]
