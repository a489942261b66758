"""Dry runs of the ImageNet recipes, configs from s to z."""

import pytest

from tests.configs import dry_runs

VARIANTS = [named for named in dry_runs.VARIANTS if named >= "s"]


@pytest.fixture(scope="module")
def result():
    return dry_runs.tried(VARIANTS)


@pytest.mark.slow
@pytest.mark.parametrize("named", VARIANTS)
def test_an_imagenet_recipe_with_its_real_plan(named, result):
    dry_runs.check(named, result)
