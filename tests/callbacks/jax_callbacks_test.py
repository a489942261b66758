"""Callbacks, runs and commands on Keras' JAX backend without TensorFlow: one process for all."""

import pytest

from tests import jax_checks

SCRIPT = jax_checks.script(__file__, "jax_callbacks_script.py")
pytestmark = jax_checks.MARKS


# Compilation is most of their cost: the gate has the resume without it.
RELEASE = ["check_it_does_with_several_steps_per_call"]
GATE = [name for name in jax_checks.names(SCRIPT) if name not in RELEASE]


def outcomes_of(names, folder) -> dict[str, str]:
    # A resumed run has the same step as the stopped one, so it is compiled once for both.
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder)}
    return jax_checks.outcomes(
        SCRIPT, *names, **cache, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0"
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    return outcomes_of(GATE, tmp_path_factory.mktemp("compiled"))


@pytest.mark.parametrize("name", GATE)
def test_on_jax_without_tensorflow(outcomes, name):
    assert outcomes[name] == "passed", outcomes[name]


@pytest.mark.release
def test_further_checks(tmp_path):
    said = outcomes_of(RELEASE, tmp_path)
    assert said == dict.fromkeys(RELEASE, "passed"), said
