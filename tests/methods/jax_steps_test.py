"""Methods that change the train step, on Keras' JAX backend, in one process."""

import pytest

from tests import jax_checks

SCRIPT = jax_checks.script(__file__, "jax_steps_script.py")
pytestmark = jax_checks.MARKS

# Compilation takes most of the time, so the gate runs one of each kind.
RELEASE = {
    "check_masks_of_which_pieces_have_other_sums": "sample weights, regularizers",
    "check_several_losses_one_of_a_layer": "sample weights, regularizers",
    "check_half_precision_with_a_scaled_loss": "sample weights, regularizers",
    "check_a_fit_on_two_devices_and_smaller_batches": "tests/data/jax_pipeline_test.py",
    "check_adams_noise_scale_waits_for_its_moments": "the noise scale of pieces",
    "check_the_batch_grows_and_the_learning_rate_with_it": "the noise scale, AutoWU's rates",
    "check_memory_of_which_nothing_is_known": "the piece is chosen, a trial that fails",
    "check_losses_over_pairs_are_refused": "tests/callbacks/losses_of_pairs_test.py",
}
GATE = [name for name in jax_checks.names(SCRIPT) if name not in RELEASE]


def outcomes_of(names) -> dict[str, str]:
    cheap = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    devices = "--xla_force_host_platform_device_count=2"
    environment = dict(KERAS_BACKEND="jax", XLA_FLAGS=f"{devices} {cheap}")
    return jax_checks.outcomes(SCRIPT, *names, **environment)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    return outcomes_of(GATE)


@pytest.fixture(scope="module")
def further_outcomes() -> dict[str, str]:
    return outcomes_of(RELEASE)


@pytest.mark.parametrize("name", GATE)
def test_on_jax(outcomes, name):
    assert outcomes[name] == "passed", outcomes[name]


@pytest.mark.release
@pytest.mark.parametrize("name", RELEASE)
def test_more_on_jax(further_outcomes, name):
    assert further_outcomes[name] == "passed", further_outcomes[name]
