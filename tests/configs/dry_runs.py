"""Dry runs of the ImageNet recipes, which no machine of ours can train.

Each variant's arm with the largest batch runs with its real plan, data order and resume point on
made photographs: one micro-batch of two examples, at the network's smallest image size.
"""

from pathlib import Path

from lbkeras.advice.dry_run import dry_run
from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import experiment
from lbkeras.runs.config_task import ConfigTask

PAPERS = Path(__file__).parents[2] / "configs" / "papers"
SMALLEST = {"inception_resnet_v2": 75, "alexnet": 67}  # pixels; 64 for other networks
# One with ResNet-50; all others, also of other networks, are tried before a release.
IN_THE_GATE = ["akiba2017:imagenet"]
BEFORE_A_RELEASE = [
    named
    for path in sorted(PAPERS.glob("*.py"))
    if path.name != "__init__.py"
    for variant in config_module(str(path)).get_config.variants
    if (named := f"{path.stem}:{variant}") not in IN_THE_GATE
    and load_config(f"{path}:{variant}").data.name == "imagenet2012"
]


def task_of(named: str, arm: str | None = None) -> ConfigTask:
    """Returns the task of an arm (None: the one with the largest batch) at a small image size."""
    file, variant = named.split(":")
    config = load_config(f"{PAPERS / file}.py:{variant}")
    plans = experiment.make_plans(config)
    arm = arm or max(plans, key=lambda arm: max(phase.batch_size for phase in plans[arm].phases))
    settings = experiment.arm_settings(config, arm)
    size = SMALLEST.get(settings["model"]["name"], 64)
    settings["data"] |= dict(image_size=size, resize=None)
    settings["model"].pop("ghost_batch_size", None)  # larger than 2; has its own tests
    if "num_nodes" in settings["optimizer"]:
        settings["optimizer"]["num_nodes"] = 2  # each has its own weights
    return ConfigTask(settings, fake_data=True)


def tried(variants: list[str]):
    """Returns the result of one dry run of several variants."""
    tasks = {named: task_of(named) for named in variants}
    return dry_run(tasks, "one", examples=2, say=lambda line: None)


def check(named: str, result) -> None:
    """Checks that the variant passed with each batch size of its plan."""
    assert [str(failure) for failure in result.failures if named in failure.arms] == []
    plan = task_of(named).plan
    assert result.arms[named].plan == plan
    assert list(result.arms[named].tried) == list(dict.fromkeys(p.batch_size for p in plan.phases))
