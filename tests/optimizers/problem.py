"""Gradients for twenty steps with increasing learning rate, and a function that runs them."""

import numpy as np

SHAPES = {
    "dense/kernel": (5, 4),
    "conv/kernel": (3, 3, 2, 4),
    "conv/bias": (4,),
    "normalization/gamma": (4,),
    "normalization/beta": (4,),
}
STEPS = 20


def make_problem(seed=0, shapes=SHAPES, steps=STEPS):
    generator = np.random.default_rng(seed)
    weights = [_start(name, shape, generator) for name, shape in shapes.items()]
    gradients = [
        [generator.standard_normal(w.shape).astype(np.float32) * 0.3 for w in weights]
        for _ in range(steps)
    ]
    learning_rates = [float(np.float32(0.02 * (step + 1))) for step in range(steps)]
    return list(shapes), weights, gradients, learning_rates


def _start(name, shape, generator):
    if name.endswith("gamma"):
        return np.ones(shape, np.float32)
    if name.endswith(("bias", "beta")):
        return np.zeros(shape, np.float32)
    return generator.standard_normal(shape).astype(np.float32)


def run(optimizer, names, weights, gradients, learning_rates, variables=None):
    """Runs one step per entry of `gradients` at its learning rate; returns the weights."""
    import keras

    variables = variables or make_variables(names, weights)
    optimizer.build(variables)
    for step, learning_rate in enumerate(learning_rates):
        optimizer.learning_rate = learning_rate
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients[step]], variables)
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def make_variables(names, weights):
    import keras

    variables = []
    for name, weight in zip(names, weights, strict=True):
        *scopes, name = name.split("/")
        with keras.name_scope("/".join(scopes)):
            variables.append(keras.Variable(weight, name=name))
    return variables
