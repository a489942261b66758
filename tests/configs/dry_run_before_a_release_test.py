"""The ImageNet recipes for which others stand in the gate, every arm tried for a moment."""

import pytest

from lbkeras.advice.dry_run import dry_run
from lbkeras.cli.config_files import load_config
from tests.configs import dry_runs


@pytest.mark.release  # in the gate dry_run_a_to_r_test and dry_run_s_to_z_test try their like
@pytest.mark.parametrize("named", dry_runs.BEFORE_A_RELEASE)
def test_every_arm_of_an_imagenet_recipe(named):
    file, variant = named.split(":")
    arms = list(load_config(f"{dry_runs.PAPERS / file}.py:{variant}").arms)
    tasks = {arm: dry_runs.task_of(named, arm) for arm in arms}
    result = dry_run(tasks, "one", examples=2, say=lambda line: None)
    assert [str(failure) for failure in result.failures] == [] and list(result.arms) == arms
    for arm, task in tasks.items():
        assert list(result.arms[arm].tried) == [phase.batch_size for phase in task.plan.phases]
