"""Keskar's arms differ in the batch size alone; the large batch is a tenth of the data."""

import json
from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.cli.main import main
from lbkeras.replication import Claim, linear_interpolation
from lbkeras.runs import experiment

KESKAR = Path(__file__).parents[2] / "configs" / "papers" / "keskar2017.py"
VARIANTS = {"digits": 16, "mnist": 256, "cifar10": 256}


@pytest.mark.parametrize("variant", VARIANTS)
def test_arms_differ_in_the_batch_size_only(variant):
    config = load_config(f"{KESKAR}:{variant}")
    small, large = (experiment.arm_settings(config, arm) for arm in config.arms)
    sizes = [settings["plan"].pop("batch_size") for settings in (small, large)]
    assert small == large
    assert sizes[0] == VARIANTS[variant]
    assert sizes[1] == small["data"]["num_examples"] // 10
    linear_interpolation.check_line(config)
    assert [config.linear_interpolation.start, config.linear_interpolation.end] == list(config.arms)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sharper_minimum_is_a_worse_one(variant):
    claims = [Claim.from_dict(c) for c in config_module(str(KESKAR)).get_claims(variant)]
    sharper = [claim for claim in claims if claim.metric.startswith("sharpness")]
    assert all(claim.lower_is_better for claim in sharper)
    for claim in sharper:
        if claim.test == "worse":
            assert claim.arm.endswith("large_batch") and claim.baseline.endswith("small_batch")
        else:  # baseline / arm >= ratio
            assert claim.test == "ratio_at_least" and claim.arm.endswith("small_batch")
        if claim.paper:
            large, small = claim.paper["arm"], claim.paper["baseline"]
            assert (large > small) == (claim.test == "worse")


def test_what_is_measured_is_what_the_claims_name():
    from lbkeras import data
    from lbkeras.callbacks import Sharpness

    measure = Sharpness(data.load("digits"))
    assert (measure.epsilons, measure.subspace_dimensions) == ((1e-3, 5e-4), (None, 100))


@pytest.mark.release
def test_a_replication_measures_sharpness_and_draws_the_line(tmp_path):
    flags = ["--config.plan.epochs=2", "--seeds=1", f"--workdir={tmp_path}"]
    assert main(["replicate", f"--config={KESKAR}:digits", *flags]) == 0
    final = json.loads((tmp_path / "large_batch/seed_0/record.json").read_text())["final"]
    names = [name for name in final if name.startswith("sharpness")]
    assert len(names) == 4 and all(final[name] > 0 for name in names)
    line = json.loads((tmp_path / "line_seed_0.json").read_text())
    assert len(line["alpha"]) == 25
    for arm, alpha in (("small_batch", 0.0), ("large_batch", 1.0)):
        record = json.loads((tmp_path / f"{arm}/seed_0/record.json").read_text())
        place = line["alpha"].index(alpha)
        for name in ("val_loss", "val_accuracy"):
            assert line[name][place] == pytest.approx(record["final"][name], rel=1e-5)
    text = (tmp_path / "report.md").read_text()
    assert "![line](plots/line.png)" in text and "ours: sharpness subspace 100 " in text
