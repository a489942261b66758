"""Part of gpu_report.py: compares ghost batch norm, and candidates for 2-D inputs, with batch norm.

Each timing runs several training steps, forward and backward, in one jitted `lax.scan`.
"""

import concurrent.futures
import functools
import os
import statistics

import jax
import jax.numpy as jnp
import keras
import numpy as np
from gpu_updates import Repeated, compiled_after, kernels, timed_in_turn
from jax import lax

from lbkeras.layers import GhostBatchNormalization

STEPS = 10
SIZE = 32  # examples in a ghost


class ConstantWeights(GhostBatchNormalization):
    """Makes the weights of the moving statistics constants of the program."""

    def _update(self, mean, variance, count, first, total, context=None):
        weights = (1.0 - self.momentum) * self.momentum ** np.arange(total - 1.0, -1.0, -1.0)
        column = jnp.asarray(weights[:, None], mean.dtype)
        kept = 1.0 - float(weights.sum())
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * kept + jnp.sum(column * new, axis=0))


class Unrolled(ConstantWeights):
    """Unrolls the sums over a ghost's examples, so that they need no reduction kernel."""

    def call(self, inputs, training=None, mask=None):
        ghosts = inputs.shape[0] // self.ghost_batch_size
        z = jnp.reshape(inputs.astype("float32"), (ghosts, -1, inputs.shape[1]))
        y, mean, variance = normalized(z, self.gamma.value, self.beta.value, self.epsilon)
        self._update(mean, variance, None, 0, ghosts)
        return jnp.reshape(y, inputs.shape).astype(self.compute_dtype)


def _sum(parts):
    """Returns the sum of a list, added in pairs."""
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        parts = [a + b for a, b in pairs] + parts[len(parts) // 2 * 2 :]
    return parts[0]


def _columns(z):
    return [z[:, index] for index in range(z.shape[1])]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalized(z, gamma, beta, epsilon):
    """Returns `(y, mean, variance)` of `z` `(ghosts, examples, channels)`.

    No gradient flows through mean and variance.
    """
    return _forward(z, gamma, beta, epsilon)[0]


def _forward(z, gamma, beta, epsilon):
    number = z.shape[1]
    mean = _sum(_columns(z)) / number
    variance = _sum([jnp.square(each - mean) for each in _columns(z)]) / number
    scale = lax.rsqrt(variance + epsilon)
    y = (z - mean[:, None]) * (scale * gamma)[:, None] + beta
    return (y, mean, variance), (z, mean, scale, gamma)


def _backward(epsilon, kept, above):
    z, mean, scale, gamma = kept
    dy, number = above[0], z.shape[1]
    of_beta = _sum(_columns(dy))
    of_gamma = scale * _sum(
        [a * (b - mean) for a, b in zip(_columns(dy), _columns(z), strict=True)]
    )
    normal = (z - mean[:, None]) * scale[:, None]
    of_z = dy - of_beta[:, None] / number - normal * of_gamma[:, None] / number
    of_z = of_z * (gamma * scale)[:, None]
    return of_z, jnp.sum(of_gamma, axis=0), jnp.sum(of_beta, axis=0)


normalized.defvjp(_forward, _backward)


def time_ghosts(report, arguments):
    """Compares GhostBatchNormalization(32) with Keras' BatchNormalization, forward and backward.

    Inputs with the shape of images are timed only if the part `updates` runs too.
    """
    images = [(1024, 32, 32, 64), (1024, 16, 16, 128)] if "updates" in arguments.parts else []
    shapes = [*images, (4096, 512)]
    if arguments.tiny:
        shapes = [(64, 4, 4, 8), (128, 16)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for shape in shapes:
            for dtype in ("float32", "bfloat16"):
                _ghosts_of(report, arguments, pool, shape, dtype)


def _ghosts_of(report, arguments, pool, shape, dtype):
    keys = jax.random.split(jax.random.key(1), 2)
    x, dy = (jax.random.normal(key, shape, jnp.float32).astype(dtype) for key in keys)
    policy = "mixed_bfloat16" if dtype == "bfloat16" else "float32"
    layers = {
        "BatchNormalization": keras.layers.BatchNormalization(dtype=policy),
        "GhostBatchNormalization": GhostBatchNormalization(SIZE, dtype=policy),
    }
    if len(shape) == 2:
        layers["constant weights"] = ConstantWeights(SIZE, dtype=policy)
        layers["constant weights, unrolled"] = Unrolled(SIZE, dtype=policy)
    steps = STEPS if len(shape) > 2 or arguments.tiny else 10 * STEPS  # more of the short ones
    pending = {}
    for name, layer in layers.items():
        layer.build(shape)
        carry = _normalization_state(layer, x)
        lowered = _lower_normalization(layer, carry, x, dy, steps)
        pending[name] = (pool.submit(compiled_after, lowered), carry)
    calls, found = {}, {}
    for name, (future, carry) in pending.items():
        compiled, _ = future.result()
        found[name] = kernels(compiled)
        calls[name] = Repeated(compiled, carry, x, dy)
    times = timed_in_turn(calls, arguments.rounds, steps)
    base = times["BatchNormalization"]
    label = f"{'x'.join(map(str, shape))} {dtype}"
    figures = {}
    for name, each in times.items():
        ratios = [a / b for a, b in zip(each, base, strict=True)]
        figures[name] = {
            "milliseconds": round(statistics.median(each), 4),
            "ratio": round(statistics.median(ratios), 3),
            "kernels": found[name],
        }
    report.note("ghosts", label, figures)


def _normalization_state(layer, x):
    trained = [variable.value for variable in layer.trainable_variables]
    moving = [jnp.copy(variable.value) for variable in layer.non_trainable_variables]
    return moving, jnp.zeros_like(x), [jnp.zeros_like(value) for value in trained]


def _lower_normalization(layer, carry, x, dy, steps):
    trained = [variable.value for variable in layer.trainable_variables]

    def run(carry, x, dy):
        def body(carry, _):
            moving, _, _ = carry
            moving, now, above = lax.optimization_barrier((moving, x, dy))

            def forward(trained, x):
                y, new = layer.stateless_call(trained, moving, x, training=True)
                return y, new

            _, backward, new = jax.vjp(forward, trained, now, has_aux=True)
            of_trained, of_x = backward(above)
            return (new, of_x, of_trained), None

        return lax.scan(body, carry, None, length=steps)[0]

    return jax.jit(run, donate_argnums=0).lower(carry, x, dy)
