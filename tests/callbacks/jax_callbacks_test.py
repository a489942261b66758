"""Callbacks, runs and commands on Keras' JAX backend without TensorFlow: one process for all."""

import pytest

from tests import jax_checks

SCRIPT = jax_checks.script(__file__, "jax_callbacks_script.py")
pytestmark = jax_checks.MARKS


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    # A resumed run has the same step as the stopped one, so it is compiled once for both.
    folder = str(tmp_path_factory.mktemp("compiled"))
    cache = {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return jax_checks.outcomes(SCRIPT, **cache)


@pytest.mark.parametrize("name", jax_checks.names(SCRIPT))
def test_on_jax_without_tensorflow(outcomes, name):
    assert outcomes[name] == "passed", outcomes[name]
