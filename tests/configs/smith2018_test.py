"""Every paper's config: each variant makes plans and claims that fit; and Smith's own numbers."""

import ast
from pathlib import Path

import pytest

from lbkeras import experiment
from lbkeras.cli.command_flags import config_module, load_config
from lbkeras.replication import Claim

PAPERS = Path(__file__).parents[2] / "configs" / "papers"
FILES = sorted(path for path in PAPERS.glob("*.py") if path.name != "__init__.py")
SMITH = PAPERS / "smith2018.py"
VARIANTS = [f"{path}:{variant}" for path in FILES for variant in config_module(str(path))._VARIANTS]


def _claims(named):
    return [
        Claim.from_dict(claim) for claim in config_module(named).get_claims(named.split(":")[1])
    ]


def test_configs_are_found():
    assert SMITH in FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_config_is_data_and_names_its_paper(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] in ("ml_collections", "configs")
        elif isinstance(node, ast.Import):
            assert [name.name for name in node.names] == ["ml_collections"]
    paper = config_module(str(path)).PAPER
    assert paper["citation"] and paper["title"] and paper["arxiv"]


@pytest.mark.parametrize("named", VARIANTS, ids=lambda named: named.rsplit("/", 1)[1])
def test_every_arm_makes_a_plan_and_describes_itself(named):
    config = load_config(named)
    plans = experiment.make_plans(config)
    assert list(plans) == list(config.arms)
    assert all(plan.updates() > 0 for plan in plans.values())
    assert all(arm.description for arm in config.arms.values())


@pytest.mark.parametrize("named", VARIANTS, ids=lambda named: named.rsplit("/", 1)[1])
def test_claims_load_and_name_arms_that_exist(named):
    arms = set(load_config(named).arms)
    claims = _claims(named)
    assert claims
    assert len({claim.name for claim in claims}) == len(claims)
    assert {name for claim in claims for name in (claim.arm, claim.baseline)} <= arms


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_header_names_every_variant(path):
    module = config_module(str(path))
    assert all(f"\n    {variant} " in module.__doc__ for variant in module._VARIANTS)


@pytest.mark.parametrize("variant", ["digits", "mnist", "cifar10", "paper_cifar10"])
def test_smiths_arms_begin_at_the_same_noise_scale(variant):
    plans = experiment.make_plans(load_config(f"{SMITH}:{variant}"))
    naive = plans.pop("large_batch_naive")
    original = plans["original"]
    for plan in plans.values():
        for ours, theirs in zip(plan.phases, original.phases, strict=True):
            scale = plan.noise_scale(ours.first_epoch)
            assert scale == pytest.approx(original.noise_scale(theirs.first_epoch), rel=1e-9)
    assert naive.noise_scale(0) < original.noise_scale(0)


def test_smiths_optimizer_arms_are_the_optimizers_they_name():
    config = load_config(f"{SMITH}:optimizers")
    expected = {
        "sgd": ({"name": "SGD"}, 0.0),
        "momentum": ({"name": "SGD"}, 0.9),
        "nesterov": ({"name": "SGD", "nesterov": True}, 0.9),
        "adam": ({"name": "Adam"}, 0.0),
    }
    for arm in config.arms:
        settings = experiment.arm_settings(config, arm)
        optimizer, momentum = expected[arm.split("_")[0]]
        assert settings["optimizer"] == optimizer
        assert settings["plan"]["momentum"] == momentum
