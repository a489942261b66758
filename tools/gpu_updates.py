"""Parts of gpu_report.py: what an update and a normalisation cost, and candidates for their shape.

Each contender is one jitted call of several updates in a `lax.scan`. In each update weights and
gradients go through an optimization barrier, so that nothing of it, a gradient's norm say, is moved
out of the loop. Contenders are timed in turn, in an order that rotates; figures are medians, ratios
medians of the ratios of one round.
"""

import concurrent.futures
import contextlib
import math
import os
import re
import statistics
import time
from unittest import mock

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax

from lbkeras import optimizers
from lbkeras.layers import GhostBatchNormalization
from lbkeras.methods.batch_statistics import moments
from lbkeras.optimizers import norms, projection

LEARNING_RATE = 0.01
WEIGHT_DECAY = 1e-4
UPDATES = 20
STEPS = 10
SECONDS_TO_TIME = 20  # kept free for the timings


def time_updates(report, arguments):
    """An update of all of ResNet-50's variables, ours and others'."""
    contenders = {
        "SGD": _keras_update(lambda: keras.optimizers.SGD(LEARNING_RATE, momentum=0.9)),
        "SGD on one vector": _keras_update(
            lambda: keras.optimizers.SGD(LEARNING_RATE, momentum=0.9), flat=True
        ),
        "AdamW": _keras_update(
            lambda: keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        ),
        "Lamb": _keras_update(
            lambda: keras.optimizers.Lamb(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        ),
        "LARS": _keras_update(_lars),
        "LAMB": _keras_update(_lamb),
        "AdamP": _keras_update(_adamp),
        "SGDP": _keras_update(_sgdp),
        **_optax_updates(),
    }
    ratios = [
        ("LARS", "SGD"),
        ("LAMB", "Lamb"),
        ("AdamP", "AdamW"),
        ("SGDP", "SGD"),
        ("LARS", "optax lars"),
        ("LAMB", "optax lamb"),
    ]
    calls = _compiled_updates(report, "updates", contenders, arguments)
    _time_updates(report, "updates", calls, ratios, arguments)


def time_norms(report, arguments):
    """Candidates for the norm inside LARS and LAMB, for the column sums inside AdamP and SGDP.

    Timed in turn with SGD, Lamb and what the optimizers have today.
    """
    report.note("norms", "largest relative error", _errors_of_norms())
    contenders = {
        "SGD": _keras_update(lambda: keras.optimizers.SGD(LEARNING_RATE, momentum=0.9)),
        "Lamb": _keras_update(
            lambda: keras.optimizers.Lamb(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        ),
        "LARS": _keras_update(_lars),
        "LAMB": _keras_update(_lamb),
        "AdamP": _keras_update(_adamp),
        "SGDP": _keras_update(_sgdp),
    }
    ratios = [("LARS", "SGD"), ("LAMB", "Lamb")]
    for optimizer, make, against in (("LARS", _lars, "SGD"), ("LAMB", _lamb, "Lamb")):
        for name, (norm, together) in NORMS.items():
            label = f"{optimizer}, {name}"
            contenders[label] = _keras_update(make, l2_norms=norm, together=together)
            ratios.append((label, against))
    label = "LARS, plain, ratios not kept"
    contenders[label] = _keras_update(_forgetful_lars, l2_norms=_plain)
    ratios.append((label, "SGD"))
    for optimizer, make in (("AdamP", _adamp), ("SGDP", _sgdp)):
        label = f"{optimizer}, plain sums"
        contenders[label] = _keras_update(make, column_sums=_plain_column_sums)
        ratios.append((label, optimizer))
    calls = _compiled_updates(report, "norms", contenders, arguments)
    _time_updates(report, "norms", calls, ratios, arguments)


def _lars():
    return optimizers.LARS(LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def _lamb():
    return optimizers.LAMB(LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def _adamp():
    return optimizers.AdamP(LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def _sgdp():
    return optimizers.SGDP(LEARNING_RATE, momentum=0.9, weight_decay=WEIGHT_DECAY)


class _ForgetfulLARS(optimizers.LARS):
    """What keeping the trust ratios costs."""

    def remember_ratio(self, index, ratio):
        pass


def _forgetful_lars():
    return _ForgetfulLARS(LEARNING_RATE, weight_decay=WEIGHT_DECAY)


# Candidates: functions that return the norms of a list of tensors. Tensors come in pairs of the
# same shape, weights and what is compared with them.


def _plain(tensors):
    return [jnp.sqrt(jnp.sum(jnp.square(x))) for x in tensors]


def _dot(tensors):
    return [jnp.sqrt(jnp.vdot(x, x, precision="highest")) for x in tensors]


def _rows(tensors, width=1024):
    """Sums of rows, then their sum."""
    return [
        jnp.sqrt(jnp.sum(jnp.sum(jnp.square(_matrix(x, math.gcd(x.size, width))), axis=1)))
        for x in tensors
    ]


def _pairs_of_rows(tensors, width=1024):
    """The sums of both tensors of a pair in one kernel."""
    lengths = []
    for a, b in zip(tensors[0::2], tensors[1::2], strict=True):
        columns = math.gcd(a.size, width)
        rows = _two_sums(jnp.square(_matrix(a, columns)), jnp.square(_matrix(b, columns)), 1)
        lengths += [jnp.sqrt(total) for total in _two_sums(*rows, 0)]
    return lengths


def _partial_sums(tensors, parts=256):
    """Sums of `parts` pieces of each tensor, then of all of them in one kernel."""
    rows = []
    for x in tensors:
        count = math.gcd(x.size, parts)
        sums = jnp.sum(jnp.square(_matrix(x, x.size // count)), axis=1)
        rows.append(jnp.pad(sums, (0, parts - count)))
    return list(jnp.sqrt(jnp.sum(jnp.stack(rows), axis=1)))


def _partial_sums_of_pairs(tensors, parts=256):
    rows = []
    for a, b in zip(tensors[0::2], tensors[1::2], strict=True):
        count = math.gcd(a.size, parts)
        columns = a.size // count
        two = _two_sums(jnp.square(_matrix(a, columns)), jnp.square(_matrix(b, columns)), 1)
        rows += [jnp.pad(sums, (0, parts - count)) for sums in two]
    return list(jnp.sqrt(jnp.sum(jnp.stack(rows), axis=1)))


def _one_vector(tensors, width=1024):
    """All tensors, each filled up to whole rows, as one matrix; its row sums; their segments."""
    rows, counts = [], []
    for x in tensors:
        count = -(-x.size // width)
        rows.append(jnp.pad(x.reshape(-1), (0, count * width - x.size)))
        counts.append(count)
    sums = jnp.sum(jnp.square(jnp.concatenate(rows).reshape(-1, width)), axis=1)
    place = np.repeat(np.arange(len(counts)), counts)
    total = jax.ops.segment_sum(sums, place, len(counts), indices_are_sorted=True)
    return list(jnp.sqrt(total))


NORMS = {
    "plain": (_plain, False),
    "dot": (_dot, False),
    "rows": (_rows, False),
    "pairs of rows": (_pairs_of_rows, False),
    "together, plain": (_plain, True),
    "together, rows": (_rows, True),
    "together, partial sums": (_partial_sums, True),
    "together, partial sums of pairs": (_partial_sums_of_pairs, True),
    "together, one vector": (_one_vector, True),
}


def _matrix(x, columns):
    return x.reshape(-1, columns)


def _two_sums(a, b, axis):
    """The sums of two tensors over an axis, as one reduction."""
    zero = jnp.zeros((), a.dtype)
    return lax.reduce(
        (a, b), (zero, zero), lambda x, y: (x[0] + y[0], x[1] + y[1]), dimensions=(axis,)
    )


def _errors_of_norms():
    """Of each candidate, against float64."""
    shapes = [(7, 7, 3, 64), (3, 3, 512, 512), (5, 7)]
    rng = np.random.default_rng(0)
    tensors = [rng.normal(size=shape).astype("float32") for shape in shapes for _ in range(2)]
    exact = np.array([np.linalg.norm(x.astype("float64").ravel()) for x in tensors])
    errors = {}
    for name, (function, _) in {"today's": (norms.l2_norms, False), **NORMS}.items():
        found = np.array(jax.jit(lambda *tensors, f=function: f(tensors))(*tensors), "float64")
        errors[name] = float(f"{np.max(np.abs(found / exact - 1)):.2g}")
    return errors


def _plain_column_sums(x):
    return jnp.sum(x, axis=0)


def resnet50_shapes(tiny=False):
    """The shapes of ResNet-50's 161 trainable variables, in a model's order."""
    shrink = 32 if tiny else 1
    stem = 64 // shrink
    shapes = [(7, 7, 3, stem), (stem,), (stem,)]
    channels = stem
    for stage, blocks in enumerate((1, 1, 1, 1) if tiny else (3, 4, 6, 3)):
        width = stem * 2**stage
        for block in range(blocks):
            if not block:
                shapes += [(1, 1, channels, 4 * width), (4 * width,), (4 * width,)]
            for kernel in ((1, 1, channels, width), (3, 3, width, width), (1, 1, width, 4 * width)):
                shapes += [kernel, kernel[-1:], kernel[-1:]]
            channels = 4 * width
    return [*shapes, (channels, 1000), (1000,)]


def _keras_update(make, flat=False, l2_norms=None, together=False, column_sums=None):
    """`shapes -> (state, update)` for a Keras optimizer, with candidates put in."""

    def build(shapes):
        if flat:
            shapes = [(sum(math.prod(shape) for shape in shapes),)]
        optimizer = make()
        variables = [
            keras.Variable(jnp.zeros(shape), name=f"v{i}") for i, shape in enumerate(shapes)
        ]
        optimizer.build(variables)
        state = [variable.value for variable in optimizer.variables]

        def update(weights, state, gradients):
            with contextlib.ExitStack() as stack:
                if l2_norms:
                    stack.enter_context(mock.patch.object(norms, "l2_norms", l2_norms))
                    stack.enter_context(mock.patch.object(norms, "together", lambda: together))
                if column_sums:
                    stack.enter_context(mock.patch.object(projection, "column_sums", column_sums))
                return optimizer.stateless_apply(state, gradients, weights)

        return shapes, state, update

    return build


def _optax_updates():
    try:
        import optax
    except ImportError:
        return {}
    rules = {
        "optax sgd": lambda: optax.sgd(LEARNING_RATE, momentum=0.9),
        "optax lars": lambda: optax.lars(LEARNING_RATE, weight_decay=WEIGHT_DECAY),
        "optax lamb": lambda: optax.lamb(LEARNING_RATE, weight_decay=WEIGHT_DECAY),
    }

    def builder(make):
        def build(shapes):
            rule = make()
            state = rule.init([jnp.zeros(shape) for shape in shapes])

            def update(weights, state, gradients):
                steps, state = rule.update(gradients, state, weights)
                return optax.apply_updates(weights, steps), state

            return shapes, state, update

        return build

    return {name: builder(make) for name, make in rules.items()}


_COMPILED = {}  # name -> _Repeated, so that a contender of two parts is compiled once


def _compiled_updates(report, part, contenders, arguments) -> dict:
    """All contenders, traced one after another and compiled at once."""
    shapes = resnet50_shapes(arguments.tiny)
    size = sum(math.prod(shape) for shape in shapes)
    report.note(part, "variables", {"number": len(shapes), "parameters": size})
    generate = jax.jit(lambda key: jax.random.normal(key, (size,)))
    weight_vector, gradient_vector = (generate(key) for key in jax.random.split(jax.random.key(0)))
    split = jax.jit(lambda vector: _split(vector, shapes))
    gradients = {True: [gradient_vector], False: split(gradient_vector)}
    kernels = {}
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    pending = {}
    for name, build in contenders.items():
        if name in _COMPILED:
            continue
        own_shapes, state, update = build(shapes)
        flat = len(own_shapes) == 1
        weights = [jnp.copy(weight_vector)] if flat else split(weight_vector)  # are donated
        lowered = _lower(update, weights, state, gradients[flat])
        pending[name] = (pool.submit(_compile, lowered), (weights, state), gradients[flat])
    report.say(f"{part}: {len(pending)} contenders traced")
    for name, (future, start, given) in pending.items():
        try:  # what is compiled in time is timed
            left = report.seconds_left() - SECONDS_TO_TIME
            compiled, seconds = future.result(max(left, 0.01))
        except TimeoutError:
            report.note(part, name, "not compiled in time")
            continue
        kernels[name] = _kernels(compiled) | {"compile seconds": round(seconds, 1)}
        _COMPILED[name] = _Repeated(compiled, start, given)
    pool.shutdown(wait=False, cancel_futures=True)
    report.note(part, "kernels of the whole call", kernels)
    return {name: _COMPILED[name] for name in contenders if name in _COMPILED}


def _time_updates(report, part, calls, ratios, arguments):
    """Notes milliseconds an update of each contender, and ratios."""
    times = _timed_in_turn(calls, arguments.rounds, UPDATES)
    for name, each in times.items():
        report.note(part, name, _figure(each))
    for ours, other in ratios:
        if ours in times and other in times:
            ratio = [a / b for a, b in zip(times[ours], times[other], strict=True)]
            report.note(part, f"{ours} / {other}", round(statistics.median(ratio), 3))


def _split(vector, shapes):
    parts, first = [], 0
    for shape in shapes:
        size = math.prod(shape)
        parts.append(vector[first : first + size].reshape(shape) * 0.05)
        first += size
    return parts


def _lower(update, weights, state, gradients):
    def run(carry, gradients):
        def body(carry, _):
            weights, state = carry
            weights, now = lax.optimization_barrier((weights, gradients))
            return update(weights, state, now), None

        return lax.scan(body, carry, None, length=UPDATES)[0]

    return jax.jit(run, donate_argnums=0).lower((weights, state), gradients)


def _compile(lowered):
    begin = time.monotonic()
    return lowered.compile(), time.monotonic() - begin


class _Repeated:
    """A compiled function whose state is donated, called again and again."""

    def __init__(self, compiled, state, *rest):
        self.compiled, self.state, self.rest = compiled, state, rest

    def __call__(self):
        self.state = jax.block_until_ready(self.compiled(self.state, *self.rest))


def _kernels(compiled) -> dict:
    """How many kernels of each kind stand in a compiled module, outside of its fusions."""
    text = compiled.as_text()
    found = {}
    for kind in re.findall(r"kind=k(\w+)", text):
        found[kind] = found.get(kind, 0) + 1
    for name in ("custom-call", "copy", "copy-start", "sort", "concatenate"):
        number = 0
        for computation in re.split(r"\n\n", text):
            if not re.match(r"\s*%?(fused|wrapped)", computation):
                number += len(re.findall(rf"= \S+ {name}\(", computation))
        if number:
            found[name] = number
    return found


def _timed_in_turn(calls, rounds, count):
    """Milliseconds of one of `count` updates in each call, for each round."""
    for call in calls.values():
        call()
        call()
    names = list(calls)
    times = {name: [] for name in names}
    for index in range(rounds):
        shift = index * 5 % len(names)
        for name in names[shift:] + names[:shift]:
            begin = time.perf_counter()
            calls[name]()
            times[name].append(1000 * (time.perf_counter() - begin) / count)
    return times


def _figure(times) -> dict:
    low, middle, high = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
    return {
        "milliseconds": round(middle, 4),
        "quartiles": [round(low, 4), round(high, 4)],
        "rounds": len(times),
    }


def time_torch(report, arguments):
    """The same update by torch and timm, in this process, so after all that JAX must do."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    contenders = {
        "torch SGD fused": lambda p: torch.optim.SGD(p, LEARNING_RATE, momentum=0.9, fused=True),
        "torch AdamW fused": lambda p: torch.optim.AdamW(p, LEARNING_RATE, fused=True),
    }
    try:
        from timm import optim

        contenders["timm Lars"] = lambda p: optim.Lars(p, LEARNING_RATE, momentum=0.9)
        contenders["timm Lamb"] = lambda p: optim.Lamb(p, LEARNING_RATE)
    except (ImportError, AttributeError):
        pass
    for name, make in contenders.items():
        parameters = [
            torch.nn.Parameter(torch.randn(shape, device=device))
            for shape in resnet50_shapes(arguments.tiny)
        ]
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer = make(parameters)

        def call(optimizer=optimizer):
            for _ in range(UPDATES):
                optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()

        times = _timed_in_turn({name: call}, 5, UPDATES)[name]
        report.note("torch", name, _figure(times))
        del optimizer, parameters


# Ghost batch normalisation


def _moments_without_mean_gradient(x, axes):
    """The variance's gradient through its mean is 0 and need not be computed."""
    mean = jnp.mean(x, axes, keepdims=True)
    variance = jnp.mean(jnp.square(x - lax.stop_gradient(mean)), axes)
    return jnp.squeeze(mean, axes), variance


def _shifted_moments(x, axes):
    """One pass: E[(x - s)^2] - (mean - s)^2, s the mean of the first 1/32 of what is averaged.

    The values that give s are among those that are averaged, so |mean - s|^2 is at most 32 times
    the variance, and the difference keeps all but 5 bits.
    """
    rows = max(x.shape[1] // 32, 1)
    shift = lax.stop_gradient(jnp.mean(x[:, :rows], axes, keepdims=True))
    difference = x - shift
    first = jnp.mean(difference, axes, keepdims=True)
    second = jnp.mean(jnp.square(difference), axes)
    return (
        jnp.squeeze(shift + first, axes),
        jnp.maximum(second - jnp.squeeze(jnp.square(first), axes), 0.0),
    )


def _split_moments(x, axes, pieces=32):
    """Sums over pieces first, then over them; the mean of the variance without gradient."""
    groups, rows, channels, after = x.shape
    pieces = math.gcd(rows, pieces)
    if rows // pieces < 2:
        return _moments_without_mean_gradient(x, axes)

    def mean_of(y):
        y = jnp.sum(y.reshape(groups * pieces, rows // pieces, channels, after), axes)
        return jnp.sum(y.reshape(groups, pieces, channels), 1) / (rows * after)

    mean = mean_of(x)
    centre = lax.stop_gradient(mean)[:, None, :, None]
    return mean, mean_of(jnp.square(x - centre))


MOMENTS = {
    "today's": moments.plain_moments,
    "no gradient through the variance's mean": _moments_without_mean_gradient,
    "shifted, one pass": _shifted_moments,
    "in pieces": _split_moments,
}


def time_ghosts(report, arguments):
    """GhostBatchNormalization(32) against Keras' BatchNormalization, forward and backward."""
    shapes = [(1024, 32, 32, 64), (1024, 16, 16, 128), (4096, 512)]
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
        "BatchNormalization": (keras.layers.BatchNormalization(dtype=policy), MOMENTS["today's"])
    }
    for name, function in MOMENTS.items():
        layers[name] = (GhostBatchNormalization(32, dtype=policy), function)
    pending = {}
    for name, (layer, function) in layers.items():
        layer.build(shape)
        carry = _normalization_state(layer, x)
        with mock.patch.object(moments, "plain_moments", function):
            lowered = _lower_normalization(layer, carry, x, dy)
        pending[name] = (pool.submit(_compile, lowered), carry)
    calls, kernels = {}, {}
    for name, (future, carry) in pending.items():
        compiled, _ = future.result()
        kernels[name] = _kernels(compiled)
        calls[name] = _Repeated(compiled, carry, x, dy)
    times = _timed_in_turn(calls, arguments.rounds, STEPS)
    base = times["BatchNormalization"]
    label = f"{'x'.join(map(str, shape))} {dtype}"
    figures = {}
    for name, each in times.items():
        ratios = [a / b for a, b in zip(each, base, strict=True)]
        figures[name] = {
            "milliseconds": round(statistics.median(each), 4),
            "ratio": round(statistics.median(ratios), 3),
            "kernels": kernels[name],
        }
    report.note("ghosts", label, figures)


def _normalization_state(layer, x):
    trained = [variable.value for variable in layer.trainable_variables]
    moving = [jnp.copy(variable.value) for variable in layer.non_trainable_variables]
    return moving, jnp.zeros_like(x), [jnp.zeros_like(value) for value in trained]


def _lower_normalization(layer, carry, x, dy):
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

        return lax.scan(body, carry, None, length=STEPS)[0]

    return jax.jit(run, donate_argnums=0).lower(carry, x, dy)
