"""A Pipeline on Keras' JAX backend without TensorFlow: one process for all checks."""

import numpy as np
import pytest

from tests import jax_checks
from tests.data.same_on_both import batches_of, pipelines, train_20

SCRIPT = jax_checks.script(__file__, "jax_pipeline_script.py")

pytestmark = jax_checks.MARKS


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("on_both")
    np.savez(folder / "batches.npz", **batches_of(pipelines()))
    weights = {
        f"{optimizer}_{number}": weight
        for optimizer in ("SGD", "LARS")
        for number, weight in enumerate(train_20(optimizer, folder / "initial.npz"))
    }
    np.savez(folder / "weights.npz", **weights)
    return jax_checks.outcomes(SCRIPT, folder)


@pytest.mark.parametrize("name", jax_checks.names(SCRIPT))
def test_on_jax_without_tensorflow(outcomes, name):
    assert outcomes[name] == "passed", outcomes[name]


@pytest.mark.release  # the gate tries two devices instead
def test_four_devices_equal_one(tmp_path):
    [said] = jax_checks.outcomes(SCRIPT, tmp_path, "release").values()
    assert said == "passed", said
