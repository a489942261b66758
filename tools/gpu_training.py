"""Parts of gpu_report.py that train WRN-16-4 on CIFAR-10's shapes: a bare loop and lbkeras' fit.

The bare loop is the best that `fit` can reach: an epoch is one jitted `lax.scan` over batches, with
the same gather, augmentation, model and Keras' SGD, and with the data on the device.
"""

import concurrent.futures
import contextlib
import functools
import io
import os
import statistics
import time

import numpy as np
from gpu_processes import Child, count_cache, wait, write

BATCHES = (128, 640, 3200)
PADDING = 4
LEARNING_RATE = 0.01
LARGEST_TO_TRAIN = 640  # largest batch size to train while many processes compile at once


# Data


def decoded(path, tiny: bool) -> dict:
    """Returns `images_SPLIT`, uint8, and `labels_SPLIT`, int32; random if there is no file."""
    if tiny or not path.exists():
        rng = np.random.default_rng(0)
        data = {}
        for split, size in (("train", 32 if tiny else 50_000), ("test", 32 if tiny else 10_000)):
            data[f"images_{split}"] = rng.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8)
            data[f"labels_{split}"] = rng.integers(0, 10, size, dtype=np.int32)
        return data
    packed = np.load(path)
    if "images_train" in packed:
        return dict(packed)
    data = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for split in ("train", "test"):
            encoded, offsets = packed[f"jpeg_{split}"].tobytes(), packed[f"offsets_{split}"]
            pieces = [encoded[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
            data[f"images_{split}"] = np.stack(list(pool.map(_decode, pieces)))
            data[f"labels_{split}"] = packed[f"labels_{split}"].astype(np.int32)
    return data


def _decode(encoded: bytes):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


@functools.cache
def cifar10(path, tiny: bool, split: str):
    """Returns the images and labels of a split as NumPy arrays."""
    data = decoded(path, tiny)
    return data[f"images_{split}"], data[f"labels_{split}"]


# Models


def batches(arguments):
    return (8,) if arguments.tiny else BATCHES


def wide_resnet(tiny: bool, seed: int = 0, precision: str = "mixed_bfloat16"):
    """Returns WRN-16-4; if tiny, WRN-10-1 in float32, which is faster on a CPU."""
    import keras

    from lbkeras import models

    keras.utils.set_random_seed(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if tiny else precision)
    try:
        return models.wide_resnet(*((10, 1) if tiny else (16, 4)), weight_decay=5e-4)
    finally:
        keras.config.set_dtype_policy(before)


def _loss():
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _sgd(learning_rate=LEARNING_RATE):
    import keras

    return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)


class Bare:
    """An epoch as one call of a compiled function.

    Args:
        arguments: of the report.
        batch: batch size.
    """

    def __init__(self, arguments, batch: int):
        import jax

        images, labels = cifar10(arguments.data, arguments.tiny, "train")
        self._data = jax.device_put((images, labels))
        self.steps = len(labels) // batch
        self.model = wide_resnet(arguments.tiny, precision=arguments.precision)
        self.optimizer = _sgd()
        self.optimizer.build(self.model.trainable_variables)
        groups = (
            self.model.trainable_variables,
            self.model.non_trainable_variables,
            self.optimizer.variables,
        )
        self._state = [[variable.value for variable in group] for group in groups]
        self._epoch = 0
        seed = jax.ShapeDtypeStruct((), np.int32)
        begin = time.perf_counter()
        run = jax.jit(functools.partial(self._run, batch), donate_argnums=0)
        self._program = run.lower(self._state, *self._data, seed).compile()
        self.seconds_to_compile = time.perf_counter() - begin
        self.temporary_bytes = self._program.memory_analysis().temp_size_in_bytes

    def _run(self, batch, state, images, labels, seed):
        import jax
        from jax import numpy as jnp

        from lbkeras.data.jax_crop_flip import crop_flip

        number = labels.shape[0]
        order = jax.random.permutation(jax.random.key(seed), number)[: self.steps * batch]
        seeds = jnp.stack([jnp.full(self.steps, seed), jnp.arange(self.steps, dtype=jnp.int32)], 1)

        def step(state, given):
            places, seed = given
            trained, other, slots = state
            x, y = crop_flip(images[places], PADDING, seed), labels[places]
            (loss, other), gradients = jax.value_and_grad(self._loss_of, has_aux=True)(
                trained, other, x, y
            )
            trained, slots = self.optimizer.stateless_apply(slots, gradients, trained)
            return [trained, other, slots], loss

        state, losses = jax.lax.scan(step, state, (order.reshape(self.steps, batch), seeds))
        return state, jnp.mean(losses)

    def _loss_of(self, trained, other, x, y):
        logits, other, extra = self.model.stateless_call(
            trained, other, x, training=True, return_losses=True
        )
        return sum(extra) + _loss()(y, logits), other

    def seconds(self, epochs: int) -> float:
        """Returns the mean seconds per epoch of `epochs` epochs."""
        begin = time.perf_counter()
        for _ in range(epochs):
            self._epoch += 1
            given = np.int32(self._epoch)
            self._state, loss = self._program(self._state, *self._data, given)
            self.loss = float(loss)
        return (time.perf_counter() - begin) / epochs


class OwnFit:
    """lbkeras' `fit`: Pipeline, random_crop_flip and BatchSizeScheduler.

    Args:
        arguments: of the report.
        batch: batch size.
        micro_batch_size: of `callbacks.MicroBatches`; None: without it.
        momenta: the momentum of each epoch; None: 0.9 in all epochs.
    """

    def __init__(self, arguments, batch: int, micro_batch_size=None, momenta=None):
        from lbkeras import callbacks, planning
        from lbkeras.data import Pipeline
        from lbkeras.data.augmentation import random_crop_flip

        data = cifar10(arguments.data, arguments.tiny, "train")
        epochs = [(2, 0.9)] if momenta is None else [(1, momentum) for momentum in momenta]
        phases = [
            dict(
                first_epoch=sum(number for number, _ in epochs[:index]),
                epochs=number,
                batch_size=batch,
                learning_rate=LEARNING_RATE,
                momentum=momentum,
            )
            for index, (number, momentum) in enumerate(epochs)
        ]
        plan = planning.explicit_plan(phases=phases, num_examples=len(data[1]))
        self.pipeline = Pipeline(data, batch, augment=random_crop_flip(PADDING))
        self.model = wide_resnet(arguments.tiny, precision=arguments.precision)
        self.model.compile(
            _sgd(plan.learning_rate_schedule()),
            _loss(),
            steps_per_execution=arguments.steps_per_execution,
        )
        self.clock = clock()
        self.callbacks = [self.clock, callbacks.BatchSizeScheduler(self.pipeline, plan)]
        if micro_batch_size is not None:
            self.callbacks.append(callbacks.MicroBatches(self.pipeline, micro_batch_size))
        self.steps = self.pipeline.steps_per_epoch

    def seconds(self, epochs: int) -> float:
        """Returns the mean seconds per epoch of `epochs` epochs."""
        self.model.fit(self.pipeline, epochs=epochs, verbose=0, callbacks=self.callbacks)
        return self.clock.seconds / epochs


class PlainFit:
    """Keras' `fit` on arrays, without augmentation.

    Args:
        arguments: of the report.
        batch: batch size.
    """

    def __init__(self, arguments, batch: int):
        self._data, self._batch = cifar10(arguments.data, arguments.tiny, "train"), batch
        self.model = wide_resnet(arguments.tiny)
        self.model.compile(_sgd(), _loss())
        self.clock = clock()
        self.steps = -(-len(self._data[1]) // batch)

    def seconds(self, epochs: int) -> float:
        """Returns the mean seconds per epoch of `epochs` epochs."""
        images, labels = self._data
        self.model.fit(
            images,
            labels,
            batch_size=self._batch,
            epochs=epochs,
            verbose=0,
            callbacks=[self.clock],
        )
        return self.clock.seconds / epochs


def clock():
    """Returns a callback that measures from the start of the first epoch to the end of the last."""
    import keras

    class Clock(keras.callbacks.Callback):
        seconds = first_step = 0.0

        def on_train_begin(self, logs=None):
            self._begin = None

        def on_epoch_begin(self, epoch, logs=None):
            self._begin = self._begin or time.perf_counter()
            self._epoch_begin, self._first = time.perf_counter(), True

        def on_train_batch_end(self, batch, logs=None):
            if self._first:  # until the first step is dispatched, including compilation
                self.first_step = time.perf_counter() - self._epoch_begin
                self._first = False

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self._begin

    return Clock()


MAKERS = {"bare": Bare, "fit": OwnFit, "plain": PlainFit}


# Tasks of child processes


def compile_one(task: dict, arguments) -> dict:
    """Puts the programs of `task["what"]` at batch size `task["batch"]` into the cache.

    Also trains an epoch, unless the batch is large. A `fit` without `only` always does.
    """
    begin = time.perf_counter()
    if task["what"] == "fit":
        made = OwnFit(arguments, task["batch"], task.get("micro"))
        if task.get("only"):
            compile_only(made.model, made.pipeline, task["batch"], made.callbacks)
        else:
            made.seconds(1)
    else:
        made = MAKERS[task["what"]](arguments, task["batch"])
        if task["batch"] <= LARGEST_TO_TRAIN:
            made.seconds(1)
    return {"seconds": round(time.perf_counter() - begin, 1), **_peak()}


def compile_only(model, train, batch: int, callbacks: list, **more) -> None:
    """Compiles the train step of a `fit`; with a small batch also trains an epoch.

    Many processes compile at once, and the device lacks the memory to train large batches in all.
    """
    import keras

    from lbkeras.keras_internals.jax_trainer import compile_ahead

    class Compiled(Exception):
        pass

    class Compile(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            future = compile_ahead(self.model, train.element_spec)
            if future is not None:
                future.result()
                raise Compiled

    callbacks = [*callbacks, *([Compile()] if batch > LARGEST_TO_TRAIN else [])]
    first = more.get("initial_epoch", 0)
    with contextlib.suppress(Compiled):
        model.fit(train, epochs=first + 1, verbose=0, callbacks=callbacks, **more)


def _peak() -> dict:
    import jax

    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {} if peak is None else {"peak MB": round(peak / 1e6)}


def momentum_change(task: dict, arguments) -> dict:
    """Measures what a new momentum, a constant of the program, costs at the start of an epoch."""
    made = OwnFit(arguments, task["batch"], momenta=(0.9, 0.95))
    made.seconds(2)
    return {"first step after it, s": round(made.clock.first_step, 2)}


def measure(task: dict, arguments) -> dict:
    """Measures a part of `timed`; writes figures as they come, and `speeds`, seconds per epoch."""
    found, speeds = {}, {}
    sizes = [task["batch"]] if "batch" in task else batches(arguments)
    for batch in sizes:
        with_plain = batch == sizes[0] and "batch" not in task
        names = ["bare", "fit"] + ["plain"] * with_plain
        for key, value in _measured(batch, names, arguments, speeds):
            found[key] = value
            write(arguments.result, {"found": found, "speeds": speeds})
    return {"found": found, "speeds": speeds}


def _measured(batch: int, names: list[str], arguments, speeds: dict):
    """Yields the names and figures of one batch size as they come."""
    cache = count_cache()
    made, first = {}, {}
    for name in names:
        before, begin = dict(cache), time.perf_counter()
        made[name] = MAKERS[name](arguments, batch)
        made[name].seconds(1)
        first[name] = {
            "seconds": round(time.perf_counter() - begin, 2),
            **{f"cache {key}": cache[key] - before[key] for key in cache},
        }
    yield f"batch {batch}: first epoch, of programs in the cache", first
    times = {name: [] for name in names}
    for index in range(2 if arguments.tiny else arguments.rounds):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            times[name].append(made[name].seconds(2))
    speeds[batch] = statistics.median(times["fit"])
    figures = {}
    for name, each in times.items():
        low, middle, high = statistics.quantiles(each, n=4)
        figures[name] = {
            "images a second": round(made[name].steps * batch / middle),
            "milliseconds a step": round(1000 * middle / made[name].steps, 3),
            "quartiles": [round(1000 * end / made[name].steps, 3) for end in (low, high)],
            "seconds of epochs": [round(value, 4) for value in each],
        }
    figures["bare"]["MB of temporaries"] = round(made["bare"].temporary_bytes / 1e6)
    yield f"batch {batch}", figures
    for name in names[1:]:
        ratios = [
            made[name].steps * bare / value / made["bare"].steps
            for value, bare in zip(times[name], times["bare"], strict=True)
        ]
        low, middle, high = statistics.quantiles(ratios, n=4)
        note = {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}
        yield f"batch {batch}: {name} / bare, images a second", note


# The parts


def float32_task(what: str, arguments) -> dict:
    """Returns a task in float32, at one batch size."""
    batch = batches(arguments)[0] if arguments.tiny else LARGEST_TO_TRAIN
    return {"what": what, "batch": batch, "precision": "float32"}


def timed(part: str, report, arguments) -> None:
    """Measures the images per second of the bare loop, lbkeras' `fit` and Keras' `fit`, in turn.

    Part `float32` has one batch size and no `fit` of Keras. Runs in a separate process, so that the
    device's memory is freed afterwards.
    """
    task = float32_task("measure", arguments) if part == "float32" else {"what": "measure"}
    child, shown = Child(task, report.scratch, arguments), set()
    report.children.append(child)

    def look():
        found = child.found()
        for key, value in found.get("found", {}).items():
            if key not in shown:
                shown.add(key)
                report.note(part, key, value)
        if part == "fit":
            report.speeds = {int(key): value for key, value in found.get("speeds", {}).items()}

    wait([child], report.seconds_left() - 5, look)
    look()
    if "error" in child.result():
        report.note(part, "error", child.result()["error"])
