"""Measures what an optimizer's update costs: ratios of wall times, measured in turn in one run.

    python tools/bench_optimizers.py                          both networks, about 5 minutes
    python tools/bench_optimizers.py --network=wrn_16_4 --rounds=9
    python tools/bench_optimizers.py --optimizers=LARS,AdamP --jit=off
    python tools/bench_optimizers.py --torch-python=OTHER_VENV/bin/python

It times the update alone, `optimizer.apply` in a `tf.function`, on variables with the shapes of a
network: our optimizers and Keras' SGD with momentum, AdamW and Lamb, each with `jit_compile` on and
off. If torch and timm are installed, in this interpreter's environment or in that of
`--torch-python`, timm's LARS is timed in turn with them in another process, with one thread and
with all. The ratios use the way with the smaller median for each optimizer.

A round times each contender once, in an order that rotates. Each figure is the median over the
rounds of the ratio of two times of one round; its quartiles are printed with it.

The bound of an optimizer is the number of times it must read or write an array as large as the
variables: weights, gradients and slots. Arrays that it needs again after a norm over the whole
tensor count again. A probe in each round, `a += b` on one flat vector (3 such passes), measures the
time of a pass. An optimizer can beat the bound if tensors stay in cache between norm and update.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from lbkeras import models  # noqa: E402

LEARNING_RATE = 0.01
WEIGHT_DECAY = 1e-4
SECONDS_A_TIMING = 0.15
PROBE, PROBE_PASSES = "probe", 3
WORKER = Path(__file__).with_name("bench_optimizers_torch.py")

NETWORKS = {
    "wrn_16_4": lambda: models.wide_resnet(16, 4),
    "resnet_50": lambda: keras.applications.ResNet50(weights=None),
}


def _ours(name, **arguments):
    """Returns one of our optimizers, or None if it does not exist."""
    try:
        from lbkeras import optimizers

        return getattr(optimizers, name)(LEARNING_RATE, weight_decay=WEIGHT_DECAY, **arguments)
    except (ImportError, AttributeError):
        return None


def _rmsprop_warmup():
    try:
        from lbkeras.optimizers import RMSpropWarmup
    except ImportError:
        return None
    return RMSpropWarmup(LEARNING_RATE, transition_center_steps=1e4, transition_period_steps=5e3)


# name -> (makes an optimizer, passes over the variables: each array read or written counts 1)
OPTIMIZERS = {
    "SGD": (lambda: keras.optimizers.SGD(LEARNING_RATE, momentum=0.9), 5),
    "AdamW": (lambda: keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY), 7),
    "Lamb": (lambda: keras.optimizers.Lamb(LEARNING_RATE, weight_decay=WEIGHT_DECAY), 10),
    "LARS": (lambda: _ours("LARS"), 7),
    "LAMB": (lambda: _ours("LAMB"), 10),
    "AdamP": (lambda: _ours("AdamP"), 9),
    "SGDP": (lambda: _ours("SGDP", momentum=0.9), 7),
    "RMSpropWarmup": (_rmsprop_warmup, 7),
}
TORCH_LARS, TORCH_LARS_PASSES = "timm LARS", 7

# (optimizer, compared with, largest ratio)
TARGETS = [
    ("LARS", "SGD", 1.6),
    ("LARS", "Lamb", 0.6),
    ("LARS", TORCH_LARS, 1.0),
    ("LAMB", "Lamb", 1.0),
    ("AdamP", "AdamW", None),
    ("SGDP", "SGD", None),
    ("RMSpropWarmup", "SGD", None),
    ("Lamb", "SGD", None),
]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=[*NETWORKS, "all"], default="all")
    parser.add_argument("--optimizers", default="SGD,Lamb,LARS,LAMB", help=", ".join(OPTIMIZERS))
    parser.add_argument("--jit", choices=["on", "off", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=9, help="timings of each contender")
    parser.add_argument("--torch-python", default=sys.executable, help="Python with torch and timm")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    names = [name for name in OPTIMIZERS if name in arguments.optimizers.split(",")]
    jits = {"on": [True], "off": [False], "both": [False, True]}[arguments.jit]
    networks = NETWORKS if arguments.network == "all" else [arguments.network]
    figures = []
    for network in networks:
        for figure in bench(network, names, jits, arguments.rounds, arguments.torch_python):
            figures.append({"network": network, **figure})
            print(_line(figures[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def bench(network: str, names, jits, rounds: int, torch_python: str):
    """Times all contenders on one network's variables; yields times, then ratios."""
    shapes = [tuple(variable.shape) for variable in NETWORKS[network]().trainable_variables]
    size = sum(int(np.prod(shape)) for shape in shapes)
    print(f"{network}: {len(shapes)} variables, {size:,} parameters, {4 * size / 1e6:.0f} MB")
    contenders = {(PROBE, ""): _probe(size)}
    for name in names:
        for jit, update in _updates(name, shapes, jits):
            contenders[name, "jit" if jit else ""] = update
    worker = _start_torch(torch_python, shapes)
    if worker:
        for threads in sorted({1, os.cpu_count()}):
            way = f"{threads} threads"
            contenders[TORCH_LARS, way] = lambda steps, n=threads: _ask(worker, steps, n)
    times = _rounds(contenders, rounds)
    if worker:
        worker.stdin.close()
        worker.wait()

    best = _faster(times)
    seconds_a_pass = statistics.median(times[PROBE, ""]) / PROBE_PASSES
    passes = {name: number for name, (_, number) in OPTIMIZERS.items()}
    passes |= {PROBE: PROBE_PASSES, TORCH_LARS: TORCH_LARS_PASSES}
    for (name, way), seconds in times.items():
        yield {
            "name": name,
            "way": way,
            "milliseconds": 1000 * statistics.median(seconds),
            "gigabytes": passes[name] * 4 * size / 1e9,
            "bound_milliseconds": 1000 * passes[name] * seconds_a_pass,
            "rounds": len(seconds),
        }
    for name, other, target in TARGETS:
        if name in best and other in best:
            pairs = zip(times[best[name]], times[best[other]], strict=True)
            ratios = sorted(a / b for a, b in pairs)
            quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            yield {
                "name": name,
                "against": other,
                "ratio": statistics.median(ratios),
                "quartiles": [quartiles[0], quartiles[2]],
                "target": target,
                "rounds": len(ratios),
            }


def _rounds(contenders, rounds: int) -> dict:
    """Returns the seconds per update of each contender in each round; the order rotates."""
    keys = list(contenders)
    steps = {}
    for key in keys:
        contenders[key](2)
        steps[key] = max(1, round(SECONDS_A_TIMING / contenders[key](2)))
    times = {key: [] for key in keys}
    for index in range(rounds):
        shift = index % len(keys)
        for key in keys[shift:] + keys[:shift]:
            times[key].append(contenders[key](steps[key]))
    return times


def _faster(times) -> dict:
    """Returns for each name the key, the way to run it, with the smallest median."""
    best = {}
    for key in times:
        name = key[0]
        if name not in best or statistics.median(times[key]) < statistics.median(times[best[name]]):
            best[name] = key
    return best


def _updates(name: str, shapes, jits):
    """Yields jit_compile and a function `steps -> seconds per step`, on new variables."""
    optimizer = OPTIMIZERS[name][0]()
    if optimizer is None:
        print(f"{name}: skipped, not found in lbkeras.optimizers")
        return
    generator = np.random.default_rng(0)
    variables, gradients = [], []
    for index, shape in enumerate(shapes):
        value = generator.standard_normal(shape, np.float32)
        variables.append(keras.Variable(0.05 * value, name=f"variable_{index}"))
        gradients.append(tf.constant(1e-3 * generator.standard_normal(shape, np.float32)))
    optimizer.build(variables)
    for jit in jits:
        yield jit, _timed(lambda grads: optimizer.apply(grads, variables), gradients, jit)


def _probe(size: int):
    flat = tf.Variable(tf.ones(size))
    return _timed(lambda change: flat.assign_add(change), 1e-6 * tf.ones(size), False)


def _timed(update, argument, jit: bool):
    @tf.function(jit_compile=jit)
    def step(argument):
        update(argument)

    def run(steps: int) -> float:
        tf.test.experimental.sync_devices()
        begin = time.perf_counter()
        for _ in range(steps):
            step(argument)
        tf.test.experimental.sync_devices()
        return (time.perf_counter() - begin) / steps

    return run


def _start_torch(python: str, shapes):
    """Returns the process that times PyTorch, or None if torch or timm is missing."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    worker = subprocess.Popen(
        [python, str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    settings = {"shapes": shapes, "learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY}
    worker.stdin.write(json.dumps(settings) + "\n")
    worker.stdin.flush()
    answer = json.loads(worker.stdout.readline() or '{"missing": "an answer"}')
    if "missing" in answer:
        print(f"{TORCH_LARS}: skipped, {python} has no {answer['missing']}; see --torch-python")
        worker.communicate()
        return None
    print(f"{TORCH_LARS}: {', '.join(f'{key} {value}' for key, value in answer.items())}")
    return worker


def _ask(worker, steps: int, threads: int) -> float:
    worker.stdin.write(f"{steps} {threads}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def _line(figure: dict) -> str:
    if "against" in figure:
        low, high = figure["quartiles"]
        target = figure["target"]
        verdict = ""
        if target is not None:
            verdict = (
                f"; target at most {target}: {'met' if figure['ratio'] <= target else 'MISSED'}"
            )
        return (
            f"{figure['network']:10} {figure['name'] + ' / ' + figure['against']:26} ratio "
            f"{figure['ratio']:.3f} (quartiles {low:.3f} to {high:.3f}, n={figure['rounds']})"
            f"{verdict}"
        )
    name = f"{figure['name']} {figure['way']}"
    return (
        f"{figure['network']:10} {name:26} {figure['milliseconds']:8.2f} ms; "
        f"{figure['gigabytes']:.3f} GB read and written: bound {figure['bound_milliseconds']:.2f} "
        f"ms, {figure['milliseconds'] / figure['bound_milliseconds']:.2f} times that"
    )


if __name__ == "__main__":
    main()
