"""Parts of gpu_report.py: what an update of a model's variables costs, for ours and others.

Each contender is one jitted call of several updates in a `lax.scan`. In each update, weights and
gradients go through an optimization barrier, so that no part of it, such as a gradient's norm, is
moved out of the loop. Contenders are timed in turn, in an order that rotates. Figures are medians;
ratios are medians of the ratios within a round.
"""

import concurrent.futures
import math
import os
import re
import statistics
import time

import jax
import jax.numpy as jnp
import keras
from jax import lax

from lbkeras import optimizers

LEARNING_RATE = 0.01
WEIGHT_DECAY = 1e-4
UPDATES = 20
SECONDS_TO_TIME = 20  # reserved for the timings


def time_updates(report, arguments):
    """Times updates of all of ResNet-50's variables with our optimizers and others."""
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
    calls = _compiled_updates(report, contenders, arguments)
    _time_updates(report, calls, ratios, arguments)


def _lars():
    return optimizers.LARS(LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def _lamb():
    return optimizers.LAMB(LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def _adamp():
    return optimizers.AdamP(LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def _sgdp():
    return optimizers.SGDP(LEARNING_RATE, momentum=0.9, weight_decay=WEIGHT_DECAY)


def resnet50_shapes(tiny=False):
    """Returns the shapes of ResNet-50's 161 trainable variables, in a model's order."""
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


def _keras_update(make, flat=False):
    """Returns a function `shapes -> (shapes, state, update)` for a Keras optimizer."""

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


def _compiled_updates(report, contenders, arguments) -> dict:
    """Returns all contenders, traced one after another and compiled at once."""
    shapes = resnet50_shapes(arguments.tiny)
    size = sum(math.prod(shape) for shape in shapes)
    report.note("updates", "variables", {"number": len(shapes), "parameters": size})
    generate = jax.jit(lambda key: jax.random.normal(key, (size,)))
    weight_vector, gradient_vector = (generate(key) for key in jax.random.split(jax.random.key(0)))
    split = jax.jit(lambda vector: _split(vector, shapes))
    gradients = {True: [gradient_vector], False: split(gradient_vector)}
    calls, found = {}, {}
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    pending = {}
    for name, build in contenders.items():
        own_shapes, state, update = build(shapes)
        flat = len(own_shapes) == 1
        weights = [jnp.copy(weight_vector)] if flat else split(weight_vector)  # donated
        lowered = _lower(update, weights, state, gradients[flat])
        pending[name] = (pool.submit(compiled_after, lowered), (weights, state), gradients[flat])
    report.say(f"updates: {len(pending)} contenders traced")
    for name, (future, start, given) in pending.items():
        try:  # only what is compiled in time is timed
            left = report.seconds_left() - SECONDS_TO_TIME
            compiled, seconds = future.result(max(left, 0.01))
        except TimeoutError:
            report.note("updates", name, "not compiled in time")
            continue
        found[name] = kernels(compiled) | {"compile seconds": round(seconds, 1)}
        calls[name] = Repeated(compiled, start, given)
    pool.shutdown(wait=False, cancel_futures=True)
    report.note("updates", "kernels of the whole call", found)
    return calls


def _time_updates(report, calls, ratios, arguments):
    """Reports the milliseconds per update of each contender, and ratios."""
    times = timed_in_turn(calls, arguments.rounds, UPDATES)
    for name, each in times.items():
        report.note("updates", name, _figure(each))
    for ours, other in ratios:
        if ours in times and other in times:
            ratio = [a / b for a, b in zip(times[ours], times[other], strict=True)]
            report.note("updates", f"{ours} / {other}", round(statistics.median(ratio), 3))


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


def compiled_after(lowered):
    begin = time.monotonic()
    return lowered.compile(), time.monotonic() - begin


class Repeated:
    """A compiled function with donated state, to be called repeatedly."""

    def __init__(self, compiled, state, *rest):
        self.compiled, self.state, self.rest = compiled, state, rest

    def __call__(self):
        self.state = jax.block_until_ready(self.compiled(self.state, *self.rest))


def kernels(compiled) -> dict:
    """Counts the kernels of each kind in a compiled module, outside of its fusions."""
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


def timed_in_turn(calls, rounds, count):
    """Returns the milliseconds per update in each round, for calls that make `count` updates."""
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
    """Times the same update by torch and timm, in this process, and so after JAX's measurements."""
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

        times = timed_in_turn({name: call}, 5, UPDATES)[name]
        report.note("torch", name, _figure(times))
        del optimizer, parameters
