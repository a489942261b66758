"""Dry runs of the ImageNet recipes not in the gate, with each network, optimizer and callback."""

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


@pytest.mark.release  # the gate tries one recipe: dry_run_test.py
@pytest.mark.parametrize("named", dry_runs.BEFORE_A_RELEASE)
def test_an_imagenet_recipe_with_all_its_different_arms(named):
    tasks = _different_arms(named)
    result = dry_run(tasks, "one", examples=2, say=lambda line: None)
    assert [str(failure) for failure in result.failures] == []
    assert list(result.arms) == list(tasks)
    for arm, task in tasks.items():
        sizes = dict.fromkeys(phase.batch_size for phase in task.plan.phases)
        assert list(result.arms[arm].tried) == list(sizes)
