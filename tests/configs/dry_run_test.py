"""Dry runs of the ImageNet recipes with each of their networks, optimizers and callbacks."""

import pytest

from lbkeras.advice.dry_run import dry_run
from lbkeras.cli.config_files import load_config
from tests.configs import dry_runs


def _different_arms(named):
    """Returns the first arm with each model, optimizer and callbacks, mapped to its task."""
    file, variant = named.split(":")
    found = {}
    for arm in load_config(f"{dry_runs.PAPERS / file}.py:{variant}").arms:
        task = dry_runs.task_of(named, arm)
        parts = [task.settings.get(section) for section in ("model", "optimizer", "callbacks")]
        found.setdefault(str(parts), (arm, task))
    return dict(found.values())


@pytest.mark.release  # the gate: tests/cli/dry_run_test.py and liu2021_conadv_test.py
@pytest.mark.parametrize("named", dry_runs.VARIANTS)
def test_an_imagenet_recipe_with_all_its_different_arms(named):
    tasks = _different_arms(named)
    result = dry_run(tasks, "one", examples=2, say=lambda line: None)
    assert [str(failure) for failure in result.failures] == []
    assert list(result.arms) == list(tasks)
    for arm, task in tasks.items():
        sizes = dict.fromkeys(phase.batch_size for phase in task.plan.phases)
        assert list(result.arms[arm].tried) == list(sizes)
