"""A dry run of an ImageNet recipe."""

import pytest

from tests.configs import dry_runs


@pytest.fixture(scope="module")
def result():
    return dry_runs.tried(dry_runs.IN_THE_GATE)


@pytest.mark.release  # the gate: tests/cli/dry_run_test.py and liu2021_conadv_test.py
@pytest.mark.parametrize("named", dry_runs.IN_THE_GATE)
def test_an_imagenet_recipe_with_its_real_plan(named, result):
    dry_runs.check(named, result)
