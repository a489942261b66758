"""Gradients for which AdamP and SGDP project by channel, by layer and not at all, in turn."""

import numpy as np

from tests.optimizers import restatements

SHAPES = {"dense/kernel": (6, 4), "conv/kernel": (3, 3, 2, 4), "conv/bias": (4,)}
KINDS = ("channel", "layer", "none")


def make_case(rule, steps=21, **settings):
    """Returns `(names, weights, gradients, learning_rates, expected)`, with steps of all `KINDS`.

    Each gradient is made for the float64 weights of its step, so that the cosines are far from the
    bound: about 1e-8 if they should be below it, otherwise at least 0.5.
    """
    generator = np.random.default_rng(1)
    start = [generator.standard_normal(shape).astype(np.float32) for shape in SHAPES.values()]
    rates = [float(np.float32(0.002 * (step + 1))) for step in range(steps)]
    weights, states = [w.astype(np.float64) for w in start], [{} for _ in start]
    gradients = []
    for step, rate in enumerate(rates):
        kind = KINDS[step % len(KINDS)]
        gradients.append([gradient_for(w, kind, generator) for w in weights])
        for i, g in enumerate(gradients[-1]):
            weights[i] = rule(weights[i], g.astype(np.float64), states[i], rate, **settings)
    return list(SHAPES), start, gradients, rates, weights


def gradient_for(w, kind, generator):
    """Returns a float32 gradient orthogonal to each channel of w, only to w as a whole, or not."""
    g = generator.standard_normal(w.shape)
    if w.ndim > 1:
        rows, columns = w.reshape(-1, w.shape[-1]), g.reshape(-1, w.shape[-1])
        unit = rows / restatements.norm_of_columns(rows)
        columns = columns - unit * np.sum(unit * columns, axis=0)
        if kind == "layer":
            signs = np.array([1, -1] * (w.shape[-1] // 2)) / restatements.norm_of_columns(rows)
            columns = columns + 2 * unit * signs
        elif kind == "none":
            columns = columns + 3 * unit
        g = columns.reshape(w.shape)
    return g.astype(np.float32)
