"""Values computed by other libraries, named with their versions.

tools/check_optimizer_references.py compares with the installed libraries. There are three steps on
a 3 x 2 kernel in float64 with increasing learning rate; the first gradient is orthogonal to each
column of the kernel.
"""

import numpy as np
import pytest

from lbkeras import optimizers
from tests.optimizers import restatements

WEIGHT = np.array([[1, -2], [3, 4], [0.5, -1]], np.float32)
GRADIENTS = [
    np.array([[3, 2], [-1, 1], [0, 0]], np.float32),
    np.array([[1, 1], [1, 1], [1, 1]], np.float32),
    np.array([[-1, 0.5], [0.25, 2], [1, -1]], np.float32),
]
LEARNING_RATES = [0.125, 0.25, 0.5]

LARS = dict(momentum=0.75, weight_decay=0.125, trust_coefficient=0.0625)
OUTSIDE = dict(LARS, epsilon=1e-8, learning_rate_in_momentum=False)
LAMB = dict(weight_decay=0.125, epsilon=1e-6)
SGDP = dict(weight_decay=0.125, momentum=0.75)
VALUES = {
    "tensorflow/models 2.20.0 LARS": (
        "LARS",
        dict(LARS, norm="joint"),
        [[0.9075916352, -2.09902569], [2.906842821, 3.74268426], [0.3822067957, -0.9823435387]],
    ),
    "optax 0.2.8 lars, nesterov": (
        "LARS",
        dict(LARS, norm="joint", nesterov=True),
        [[0.9102302926, -2.129720682], [2.860689459, 3.608696635], [0.3205445857, -0.9509279538]],
    ),
    "timm 1.0.31 Lars": (
        "LARS",
        OUTSIDE,
        [[0.8256961788, -2.143559943], [2.9013683, 3.701392171], [0.369671508, -0.9975922427]],
    ),
    "timm 1.0.31 Lars, trust_clip": (
        "LARS",
        dict(OUTSIDE, clip=True),
        [[-0.3406980056, -2.85705076], [2.784632367, 2.803717627], [0.08085677023, -1.083775629]],
    ),
    "optax 0.2.8 lamb": (
        "LAMB",
        LAMB,
        [[-0.5914372228, -3.359737975], [2.209785978, 0.8208750513], [-1.203838836, -1.055269953]],
    ),
    "adamp 0.3.0 AdamP": (
        "AdamP",
        dict(weight_decay=0.125),
        [[0.3423676873, -2.588547818], [2.679414956, 2.838588757], [-0.161321957, -1.069411945]],
    ),
    "timm 1.0.31 AdamP, nesterov": (
        "AdamP",
        dict(weight_decay=0.125, nesterov=True),
        [[0.30434346, -2.793987621], [2.551582865, 2.46295086], [-0.5112444678, -1.012456968]],
    ),
    "timm 1.0.31 SGDP": (
        "SGDP",
        SGDP,
        [[-0.9220703125, -3.124609375], [1.772851563, 0.5421875], [-0.7364257813, -0.7146484375]],
    ),
    "adamp 0.3.0 SGDP, nesterov": (
        "SGDP",
        dict(SGDP, nesterov=True),
        [[-0.462109375, -3.27109375], [1.58828125, -0.2107421875], [-1.158300781, -0.3865234375]],
    ),
}


@pytest.mark.parametrize("source", VALUES)
def test_the_restatement_equals_the_references(source):
    name, settings, expected = VALUES[source]
    rule = getattr(restatements, name.lower())
    gradients = [[g] for g in GRADIENTS]
    (weight,) = restatements.trajectory(rule, [WEIGHT], gradients, LEARNING_RATES, **settings)
    np.testing.assert_allclose(weight, expected, rtol=1e-8)


@pytest.mark.parametrize("source", VALUES)
def test_the_optimizer_equals_the_references(source, run_optimizer, relative_difference):
    name, settings, expected = VALUES[source]
    optimizer = getattr(optimizers, name)(LEARNING_RATES[0], **settings)
    gradients = [[g] for g in GRADIENTS]
    ours = run_optimizer(optimizer, ["kernel"], [WEIGHT], gradients, LEARNING_RATES)
    assert relative_difference(ours, [expected]) < 1e-6
