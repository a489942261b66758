"""The part of the battery that runs in a separate process, with Keras on JAX."""

import keras
import numpy as np

from lbkeras import optimizers
from tests.optimizers.battery_settings import SETTINGS
from tests.optimizers.problem import make_problem, make_variables, run


def main(path):
    if keras.backend.backend() != "jax":
        raise RuntimeError(f"Keras runs on {keras.backend.backend()}")
    names, weights, gradients, rates = make_problem()
    arrays = {}
    for name, settings in SETTINGS.items():
        optimizer = getattr(optimizers, name)
        results = {
            "eager": run(optimizer(**settings), names, weights, gradients, rates),
            "stateless": stateless(optimizer(**settings), names, weights, gradients, rates),
        }
        for way, result in results.items():
            arrays |= {f"{name}/{way}/{index}": array for index, array in enumerate(result)}
    np.savez(path, **arrays)


def stateless(optimizer, names, weights, gradients, rates):
    """Runs the steps as Keras' JAX trainer does: `stateless_apply` under `jax.jit`."""
    import jax

    variables = make_variables(names, weights)
    optimizer.build(variables)
    step = jax.jit(optimizer.stateless_apply)
    values = [variable.value for variable in variables]
    for index, rate in enumerate(rates):
        optimizer.learning_rate = rate
        state = [variable.value for variable in optimizer.variables]
        values, state = step(state, [jax.numpy.asarray(g) for g in gradients[index]], values)
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)
    return [np.asarray(value) for value in values]
