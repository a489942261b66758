"""This Keras has the fault of each patch, and the patch fixes it; otherwise it can be removed."""

import pytest

from lbkeras.keras_internals import patches
from lbkeras.keras_internals.patches import PATCHES
from tests.forked import run_program

PROBE = """
import sys
from lbkeras.keras_internals.patches import PATCHES, patch_keras
patched = patch_keras()
assert patched == tuple(PATCHES), f"fixed in this Keras: {set(PATCHES) - set(patched)}"
assert patch_keras() == ()
"""


@pytest.mark.slow
def test_this_keras_has_every_fault_and_the_patches_fix_it():
    """Runs in its own process; a failure names the patches that can be removed."""
    run_program(PROBE)


def test_a_strategy_applies_the_patches(mirrored):
    assert not [name for name, (is_at_fault, _) in PATCHES.items() if is_at_fault()]


@pytest.mark.parametrize("name", PATCHES)
def test_only_existing_faults_are_patched(monkeypatch, name):
    patched = []
    of_one = {each: (lambda each=each: each == name, lambda each=each: patched.append(each))
              for each in PATCHES}  # fmt: skip
    monkeypatch.setattr(patches, "PATCHES", of_one)
    assert patches.patch_keras() == (name,)
    assert patched == [name]
