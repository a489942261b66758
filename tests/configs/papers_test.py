"""Every paper's config: each variant's plans and claims are valid."""

import ast
from pathlib import Path

import pytest

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.replication import Claim
from lbkeras.replication.reference import describe_reference
from lbkeras.runs import experiment

PAPERS = Path(__file__).parents[2] / "configs" / "papers"
FILES = sorted(path for path in PAPERS.glob("*.py") if path.name != "__init__.py")
VARIANTS = [
    f"{path}:{variant}"
    for path in FILES
    for variant in config_module(str(path)).get_config.variants
]


def _claims(named):
    return [
        Claim.from_dict(claim) for claim in config_module(named).get_claims(named.split(":")[1])
    ]


def test_configs_are_found():
    assert PAPERS / "smith2018.py" in FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_config_is_data_and_names_its_paper(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [name.name for name in node.names]
            assert node.module.split(".")[0] == "ml_collections" or (
                (node.module, names) == ("lbkeras", ["config"])
            )
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


@pytest.mark.parametrize(
    "named",
    [named for named in VARIANTS if named.rpartition(":")[2].startswith("imagenet")],
    ids=lambda named: named.rsplit("/", 1)[1],
)
def test_imagenet_variants_take_any_image_size_and_measure_top_5(named):
    config = load_config(named)
    assert config.data.name == "imagenet2012"
    config.data.image_size = 64
    for arm in config.arms:
        settings = experiment.arm_settings(config, arm)
        assert settings["data"]["image_size"] == 64
        experiment.check_metric("metric", "val_top_5_accuracy", settings)


@pytest.mark.parametrize("named", VARIANTS, ids=lambda named: named.rsplit("/", 1)[1])
def test_claims_load_and_name_arms_that_exist(named):
    arms = set(load_config(named).arms)
    claims = _claims(named)
    assert claims or named.endswith("_tuning")  # tuning makes no claims
    assert len({claim.name for claim in claims}) == len(claims)
    assert {name for claim in claims for name in (claim.arm, claim.baseline)} <= arms


@pytest.mark.parametrize("named", VARIANTS, ids=lambda named: named.rsplit("/", 1)[1])
def test_metrics_of_claims_and_targets_are_measured(named):
    config, module = load_config(named), config_module(named)
    experiment.report_metric(config)
    experiment.report_targets(config)
    for claim in _claims(named):
        for arm in (claim.arm, claim.baseline):
            experiment.check_metric(claim.name, claim.metric, experiment.arm_settings(config, arm))
    given = getattr(module, "get_reference", lambda variant: None)(named.split(":")[1])
    if given:
        plans = experiment.make_plans(config)
        assert describe_reference(given, experiment.directions(config), plans)["points"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_header_names_every_variant(path):
    module = config_module(str(path))
    assert all(f"\n    {variant} " in module.__doc__ for variant in module.get_config.variants)
