"""`lbkeras plan --auto`: what it says, what it writes, and that the rest takes it."""

import dataclasses
import json
import math

import pytest

from lbkeras.advice.advisor import Advice
from lbkeras.advice.config_file import write_config
from lbkeras.advice.plan import MeasuredEpoch
from lbkeras.advice.probe import Probe
from lbkeras.advice.words import advice_data, format_reasons, reasons
from lbkeras.cli.command_flags import load_config
from lbkeras.errors import UserError
from lbkeras.planning import Phase, Plan
from lbkeras.runs.experiment import arm_settings, make_plans

OWN = Plan([Phase(0, 8, 10, 0.1, 0.9)], 1000)
PLAN = Plan([Phase(0, 1, 10, 0.1, 0.9), Phase(1, 7, 20, 0.15, 0.9)], 1000)


def advice(plan=PLAN, lower=25.0, upper=60.0, large_step=0.02, pieces=1):
    measured = [MeasuredEpoch(10, lower, upper, 100.0, 1.0, 0.5, 2.0)] * 2
    probes = {10: Probe(10, 10, 1, 0.02, 1.0, None)}
    if plan is not OWN:
        probes[20] = Probe(20, 20 // pieces, pieces, large_step, 1.0, None)
    return Advice(OWN, plan, measured, probes, [16.0], [2.0, 7.0][: len(plan.phases)])


def test_the_reasons_have_the_numbers():
    text = " ".join(reasons(advice()))
    assert "between 25 and 60 examples after the first epoch" in text
    assert "10 in epoch 1, 20 in epochs 2 to 8" in text
    assert "1.5 at 20 (2 times the batch)" in text
    assert "450 instead of 800, 1.78 times fewer in the same 8 epochs" in text
    assert "9.0 s instead of 16.0 s, 1.78 times faster" in text
    assert "500 at 10, 1,000 at 20; larger batches use this machine better" in text
    assert "every batch size of both plans fits at once" in text


def test_it_warns_where_gradients_are_clipped():
    assert "clips" not in " ".join(reasons(advice()))
    clipped = dataclasses.replace(advice(), clipping="global_clipnorm=1.0")
    assert "clips gradients (global_clipnorm=1.0)" in " ".join(reasons(clipped))


def test_it_says_where_time_does_not_fall():
    assert "bring hardly more here: updates fall, time does not" in " ".join(
        reasons(advice(large_step=0.04))
    )
    assert "even bring fewer here" in " ".join(reasons(advice(large_step=0.08)))


def test_it_says_what_does_not_fit():
    text = " ".join(reasons(advice(pieces=4)))
    assert "20 in pieces of 5; train with --micro_batch_size=5" in text


@pytest.mark.parametrize(
    "lower, upper, why",
    [
        (15.0, 60.0, "does not reach twice the batch size of 10"),
        (2.0, 7.0, "above the critical one already: a smaller one, towards 7"),
        (math.nan, math.nan, "Nothing is known"),
    ],
)
def test_why_a_plan_is_kept(lower, upper, why):
    text = " ".join(reasons(advice(OWN, lower, upper)))
    assert "The recommended plan is the config's own." in text and why in text
    assert "AdaptiveBatchSize" not in text


def test_the_data_are_plain_json():
    data = json.loads(json.dumps(advice_data("small", advice(upper=math.inf)), allow_nan=False))
    assert data["predicted_seconds"] == 9.0 and data["own_predicted_seconds"] == 16.0
    assert Plan.from_dict(data["plan"]) == PLAN
    assert data["measured"][0]["lower"] == 25.0 and data["measured"][0]["upper"] is None


def test_lines_are_wrapped_and_numbered():
    lines = format_reasons(["word " * 40, "end"], width=50).splitlines()
    assert lines[0].startswith(" 1. word") and lines[-1] == " 2. end"
    assert max(map(len, lines)) <= 50


def test_the_written_config_is_the_measured_one_with_the_plan(tmp_path, smith):
    config = load_config(f"{smith}:digits")
    config.plan.epochs, config.plan.boundaries, config.seeds = 8, (3, 5, 6), 7
    settings = arm_settings(config, "increase_batch")
    file = tmp_path / "recommended.py"
    write_config(file, config, "increase_batch", "x.py:digits", "lbkeras plan", advice(), "a\n\nb")
    config.data.num_examples = 1000  # the made-up plan's
    file.write_text(file.read_text().replace("num_examples=1437", "num_examples=1000"))
    again = load_config(str(file))
    assert again.seeds == 7 and list(again.arms) == ["recommended", "own"]
    assert make_plans(again)["recommended"] == PLAN
    assert arm_settings(again, "own") == settings | dict(data=config.data.to_dict())
    assert file.read_text().startswith('"""A plan that `lbkeras plan --auto` recommends.\n')
    lines = [line for line in file.read_text().splitlines() if str(file) not in line]
    assert max(map(len, lines)) <= 100


def test_a_setting_that_python_cannot_hold(tmp_path, smith):
    config = load_config(f"{smith}:digits")
    config.data.update(dict(decode={1, 2}))
    with pytest.raises(
        UserError, match=r"config.data.decode: expected numbers.* received \{1, 2\}"
    ):
        write_config(tmp_path / "x.py", config, "original", "x.py", "lbkeras plan", advice(), "")


def test_flags_that_do_not_go_together(fails, smith, tmp_path):
    config = f"--config={smith}:digits"
    assert "--auto: expected either it or --probe" in fails("plan", config, "--auto", "--probe")
    assert (
        fails("plan", config, "--write=x.py") == "--write: expected beside --auto, received without"
    )
    assert fails("plan", config, "--arm=original").startswith("--arm: expected beside --auto")
    there = tmp_path / "there.py"
    there.write_text("")
    message = fails("plan", config, "--auto", f"--write={there}")
    assert message == f"--write: expected a new file, received '{there}', which is there already"
    assert "ends in .py" in fails("plan", config, "--auto", f"--write={tmp_path}")
    missing = tmp_path / "no" / "x.py"
    assert "a folder that is there" in fails("plan", config, "--auto", f"--write={missing}")
    assert "expected one of original" in fails("plan", config, "--auto", "--arm=orignal")


@pytest.mark.slow
def test_auto_measures_writes_and_the_rest_takes_it(process, forked, succeeds, smith, tmp_path):
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
