"""The form of LARS and LAMB for GPUs, with all norms together, tested on the CPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from lbkeras import optimizers
from lbkeras.optimizers import norms
from tests.optimizers import restatements
from tests.optimizers.problem import make_problem

SHAPES = {
    "embedding/embeddings": (31, 7),
    "stem/kernel": (7, 7, 3, 16),
    "conv/kernel": (3, 3, 32, 64),
    "head/kernel": (64, 5),
    "head/bias": (5,),
    "normalization/gamma": (64,),
}
SETTINGS = {
    "LARS": {"weight_decay": 0.01},
    "LARS joint": {"weight_decay": 0.01, "norm": "joint", "nesterov": True},
    "LAMB": {"weight_decay": 0.01},
}
every_rule = pytest.mark.parametrize("name", SETTINGS)


def make(name, **others):
    return getattr(optimizers, name.split()[0])(0.1, **SETTINGS[name], **others)


@pytest.fixture
def as_on_gpu(monkeypatch):
    monkeypatch.setattr(norms, "on_gpu", lambda: True)


@pytest.fixture(scope="module")
def problem():
    return make_problem(shapes=SHAPES, steps=5)


def exact(name, weights, gradients, rates):
    rule = getattr(restatements, name.split()[0].lower())
    return restatements.trajectory(rule, weights, gradients, rates, **SETTINGS[name])


@every_rule
def test_updates_by_norms_together(name, as_on_gpu, problem, run_optimizer, relative_difference):
    expected = exact(name, *problem[1:])
    assert relative_difference(run_optimizer(make(name), *problem), expected) < 1e-6


@every_rule
@pytest.mark.release
def test_norms_together_compiled_with_an_exclusion(
    name, as_on_gpu, monkeypatch, problem, make_variables, relative_difference
):
    names, weights, gradients, rates = problem

    def trained():
        optimizer = make(name)
        optimizer.exclude_from_layer_adaptation(var_names=["head/kernel"])
        optimizer.exclude_from_weight_decay(var_names=["stem/kernel"])
        variables = make_variables(names, weights)
        optimizer.build(variables)
        step = tf.function(lambda *g: optimizer.apply(list(g), variables), jit_compile=True)
        for each in gradients:
            step(*map(tf.constant, each))
        return [v.numpy() for v in variables], optimizer.trust_ratios()

    ours, our_ratios = trained()
    monkeypatch.undo()
    expected, ratios = trained()
    assert relative_difference(ours, expected) < 1e-6
    assert list(our_ratios) == list(ratios) == [names[i] for i in (0, 1, 2)]
    assert our_ratios == pytest.approx(ratios, rel=1e-5)


def test_norms_together_with_a_sparse_gradient_and_without_adapted_variables(
    as_on_gpu, make_variables
):
    """`tf.IndexedSlices` with a row that occurs twice; a model with only biases has no norms."""
    values, rows = tf.ones((3, 2)), tf.constant([0, 3, 0])
    dense = np.array([[2, 2], [0, 0], [0, 0], [1, 1]], np.float32)
    results = []
    for gradient in (tf.IndexedSlices(values, rows, dense_shape=(4, 2)), tf.constant(dense)):
        variables = make_variables(["embeddings", "bias"], [np.ones((4, 2), "float32"), np.ones(3)])
        optimizer = make("LARS")
        optimizer.apply([gradient, tf.ones(3)], variables)
        results.append(variables[0].numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)
    assert not np.allclose(results[0], 1.0, atol=1e-5)
    (bias,) = make_variables(["bias"], [np.ones(3, "float32")])
    make("LAMB").apply([tf.ones(3)], [bias])
    np.testing.assert_allclose(bias.numpy(), 0.9, rtol=1e-5)


ON_JAX = """
import sys
import numpy as np
from lbkeras.optimizers import norms
from tests.optimizers.battery_on_jax import stateless
from tests.optimizers.layer_adaptation_test import SETTINGS, SHAPES, make, make_problem
norms.on_gpu = lambda: True
found = {}
for name in SETTINGS:
    results = stateless(make(name), *make_problem(shapes=SHAPES, steps=5))
    found |= {f"{name}/{i}": result for i, result in enumerate(results)}
np.savez(sys.argv[1], **found)
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
@pytest.mark.release
def test_norms_together_in_a_jitted_step_on_jax(tmp_path, problem, relative_difference):
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    command = [sys.executable, "-c", ON_JAX, str(tmp_path / "found.npz")]
    subprocess.run(command, check=True, env=environment, timeout=300)
    found = np.load(tmp_path / "found.npz")
    for name in SETTINGS:
        expected = exact(name, *problem[1:])
        ours = [found[f"{name}/{index}"] for index in range(len(expected))]
        assert relative_difference(ours, expected) < 1e-6
