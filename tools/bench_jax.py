"""Measures what `fit` costs on Keras' JAX backend: ratios of times, measured in turn in one run.

    python tools/bench_jax.py                   about 8 minutes on 2 cores
    python tools/bench_jax.py --rounds=15 --only=plain,bare

It trains a small ResNet on uint8 images of CIFAR-10's shape, in epochs of a few steps. It compares
lbkeras' `fit`, with a Pipeline and BatchSizeScheduler, to

    plain    Keras' own `fit` on NumPy arrays of the same type; target 1.03
    bare     a bare loop over the same steps, each a call of one jitted function that gathers its
             batch; target 1.15. (One `lax.scan` over the steps takes 25 times as long on a CPU:
             inside a loop XLA computes the gradients of convolutions badly.)
    host     the same Pipeline with its data in host memory, read in threads

and, as `pieces`, `fit` in two micro-batches to `fit` without; target 1.10.

Everything is compiled before it is timed. It needs no TensorFlow.
"""

import argparse
import functools
import json
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from interleaved import ratio_of, timed_pairs  # noqa: E402

from lbkeras import models  # noqa: E402
from lbkeras.callbacks import BatchSizeScheduler  # noqa: E402
from lbkeras.data import Pipeline  # noqa: E402
from lbkeras.planning import Phase, Plan  # noqa: E402
from lbkeras.trainers import micro_batch_train_step  # noqa: E402

TARGETS = {"plain": 1.03, "bare": 1.15, "host": None, "pieces": 1.10}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=11, help="timed pairs of each figure")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6, help="steps per epoch")
    parser.add_argument("--only", default=",".join(TARGETS), help="figures, by their names")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = {}
    for name in arguments.only.split(","):
        ours, other = pair_of(name, arguments.batch_size, arguments.steps)
        figures[name] = ratio_of(timed_pairs(ours, other, arguments.rounds, warmups=2))
        low, high = figures[name]["quartiles"]
        target = f"; target {TARGETS[name]}" if TARGETS[name] else ""
        print(
            f"{name:8} {figures[name]['ratio']:.3f} ({low:.3f} to {high:.3f}), "
            f"n={arguments.rounds}{target}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def pair_of(name: str, batch_size: int, steps: int):
    """Returns two functions that train an epoch: lbkeras' `fit`, and what it is compared with."""
    x, y = images(batch_size * steps)
    if name == "plain":
        return fit((x, y), batch_size), plain_fit(x, y, batch_size)
    if name == "bare":
        return fit((x, y), batch_size), bare_loop(x, y, batch_size)
    if name == "host":
        return fit((x, y), batch_size), fit((x, y), batch_size, on_device=False)
    return fit((x, y), batch_size, pieces=2), fit((x, y), batch_size)


def images(number: int):
    """Returns random images and labels."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (number, 32, 32, 3), dtype=np.uint8)
    return x, rng.integers(0, 10, number).astype(np.int32)


def compiled_model() -> keras.Model:
    """Returns the small ResNet, compiled with accuracy as its metric."""
    keras.utils.set_random_seed(0)
    model = models.cifar_resnet(depth=8, width=16)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, 0.9), loss, metrics=["accuracy"])
    return model


def fit(arrays, batch_size: int, pieces: int = 1, on_device: bool = True):
    """Returns a function that trains an epoch with lbkeras' `fit`."""
    model, train = compiled_model(), Pipeline(arrays, batch_size)
    if not on_device:
        train._reader.data._fits = lambda: False
    plan = Plan([Phase(0, 1, batch_size, 0.05, 0.9)], train.num_examples)
    if pieces > 1:  # the step of MicroBatches; the callback would compile it in each `fit`
        model.train_step = micro_batch_train_step(model, batch_size // pieces)
    callbacks = [BatchSizeScheduler(train, plan)]
    return lambda: model.fit(train, verbose=0, callbacks=callbacks)


def plain_fit(x, y, batch_size: int):
    """Returns a function that trains an epoch with Keras' `fit`."""
    model = compiled_model()
    return lambda: model.fit(x, y, batch_size=batch_size, verbose=0)


def bare_loop(x, y, batch_size: int):
    """Returns a loop over steps of the same model and optimizer, with the data on the device."""
    model = compiled_model()
    model.optimizer.build(model.trainable_variables)
    groups = model.trainable_variables, model.non_trainable_variables, model.optimizer.variables
    held = [tuple([variable.value for variable in group] for group in groups)]
    x, y = jax.device_put(x), jax.device_put(y)
    steps = len(x) // batch_size

    def loss(trained, other, images, labels):
        logits, other = model.stateless_call(trained, other, images, training=True)
        return model.loss(labels, logits), other

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, x, y, places):
        trained, other, slots = state
        (value, other), gradients = jax.value_and_grad(loss, has_aux=True)(
            trained, other, x[places], y[places]
        )
        trained, slots = model.optimizer.stateless_apply(slots, gradients, trained)
        return (trained, other, slots), value

    rng = np.random.default_rng(0)

    def run():
        order = rng.permutation(len(x))[: steps * batch_size].reshape(steps, batch_size)
        for places in order:
            held[0], value = step(held[0], x, y, places)
        jax.block_until_ready(value)

    return run


if __name__ == "__main__":
    main()
