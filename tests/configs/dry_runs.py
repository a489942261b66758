"""Dry runs of the ImageNet recipes, which no machine of ours can train.

An arm runs with its real plan, data order and resume point on made photographs: one micro-batch of
two examples, at the network's smallest image size.
"""

from pathlib import Path

from lbkeras.cli.config_files import config_module, load_config
from lbkeras.runs import experiment
from lbkeras.runs.config_task import ConfigTask

PAPERS = Path(__file__).parents[2] / "configs" / "papers"
SMALLEST = {"inception_resnet_v2": 75, "alexnet": 67}  # pixels; 64 for other networks
VARIANTS = [
    f"{path.stem}:{variant}"
    for path in sorted(PAPERS.glob("*.py"))
    if path.name != "__init__.py"
    for variant in config_module(str(path)).get_config.variants
    if load_config(f"{path}:{variant}").data.name == "imagenet2012"
]


def task_of(named: str, arm: str) -> ConfigTask:
    """Returns the task of an arm at a small image size."""
    file, variant = named.split(":")
    config = load_config(f"{PAPERS / file}.py:{variant}")
    settings = experiment.arm_settings(config, arm)
    size = SMALLEST.get(settings["model"]["name"], 64)
    settings["data"] |= dict(image_size=size, resize=None)
    settings["model"].pop("ghost_batch_size", None)  # larger than 2; has its own tests
    if "num_nodes" in settings["optimizer"]:
        settings["optimizer"]["num_nodes"] = 2  # each has its own weights
    return ConfigTask(settings, fake_data=True)
