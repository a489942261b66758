"""The ImageNet recipes of configs from s to z, each tried for a moment."""

import pytest

from tests.configs import dry_runs

VARIANTS = [named for named in dry_runs.VARIANTS if named >= "s"]


@pytest.fixture(scope="module")
def result():
    return dry_runs.tried(VARIANTS)


@pytest.mark.slow
@pytest.mark.parametrize("named", VARIANTS)
def test_an_imagenet_recipe_at_its_real_plan(named, result):
    dry_runs.check(named, result)
