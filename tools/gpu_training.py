"""Parts of gpu_report.py that train: WRN-16-4 on CIFAR-10's shapes, data on the device.

An epoch is one jitted `lax.scan` over batches: gather, pad-crop-flip, forward, backward, update.
Learning rate and momentum are numbers that go in, so there is one program for each batch size,
whatever the plan. Each is compiled when it is needed, one after another.
"""

import concurrent.futures
import functools
import io
import os
import statistics
import time

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax
from PIL import Image

from configs.papers import smith2018 as config_of_smith2018
from lbkeras import models, planning
from lbkeras.keras_internals.optimizer import learning_rate_of, variable_index

ARMS = ("original", "increase_batch", "increased_learning_rate", "increased_momentum")
BATCHES = (128, 640, 3200, 5120)
PADDING = 4
MOST_EPOCHS = 200
SECONDS_TO_END = 10  # kept free after the last arm


@functools.cache
def cifar10(path, tiny: bool) -> dict:
    """`{split: (images, labels)}` on the device, uint8 and int32; random where there is no file."""
    if tiny or not path.exists():
        rng = np.random.default_rng(0)
        sizes = {"train": 64, "test": 64} if tiny else {"train": 50_000, "test": 10_000}
        return {
            split: (
                jnp.asarray(rng.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8)),
                jnp.asarray(rng.integers(0, 10, size, dtype=np.int32)),
            )
            for split, size in sizes.items()
        }
    packed = np.load(path)
    data = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for split in ("train", "test"):
            encoded, offsets = packed[f"jpeg_{split}"].tobytes(), packed[f"offsets_{split}"]
            pieces = [encoded[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
            images = np.stack(list(pool.map(_decode, pieces, chunksize=500)))
            data[split] = jnp.asarray(images), jnp.asarray(packed[f"labels_{split}"])
    return data


def _decode(encoded: bytes):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def crop_flip(images, key):
    """Pad with zeros, crop back at random, mirror half of the images."""
    number, height, width, _ = images.shape
    keys = jax.random.split(key, 3)
    row, column = (jax.random.randint(k, (number, 1), 0, 2 * PADDING + 1) for k in keys[:2])
    mirrored = jax.random.bernoulli(keys[2], 0.5, (number, 1))
    edges = ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0))
    columns = jnp.where(mirrored, width - 1 - jnp.arange(width), jnp.arange(width)) + column
    rows = jnp.arange(height) + row
    return jnp.pad(images, edges)[
        jnp.arange(number)[:, None, None], rows[:, :, None], columns[:, None, :]
    ]


class PlannedSGD(keras.optimizers.SGD):
    """Keras' SGD with Nesterov momentum whose momentum is a variable, as its learning rate is."""

    def __init__(self, **arguments):
        super().__init__(momentum=0.9, nesterov=True, **arguments)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.present_momentum = self.add_variable((), "zeros", "float32", name="present_momentum")

    def update_step(self, gradient, variable, learning_rate):
        slot = self.momentums[variable_index(self, variable)]
        momentum = self.present_momentum.value
        step = gradient * learning_rate
        new = slot * momentum - step
        self.assign(slot, new)
        self.assign_add(variable, new * momentum - step)


class Training:
    """A model and an optimizer without state, and the programs of its epochs."""

    def __init__(self, data, tiny: bool, policy: str):
        self.data, self.tiny, self.policy = data, tiny, policy
        self.depth, self.width = (10, 1) if tiny else (16, 4)
        self.model = self._model()
        self.optimizer = PlannedSGD()
        self.optimizer.build(self.model.trainable_variables)
        variables = self.optimizer.variables
        self._settings = [
            next(i for i, v in enumerate(variables) if v is wanted)
            for wanted in (learning_rate_of(self.optimizer), self.optimizer.present_momentum)
        ]
        self.iterations = next(i for i, v in enumerate(variables) if v is self.optimizer.iterations)
        self.examples = data["train"][0].shape[0]
        self._programs = {}
        self.seconds_an_epoch = {}  # by batch size, as far as timed
        self._started = {}

    def _model(self):
        keras.mixed_precision.set_dtype_policy(self.policy)
        model = models.wide_resnet(self.depth, self.width, weight_decay=5e-4)
        keras.mixed_precision.set_dtype_policy("float32")
        return model

    def start(self, seed: int):
        """The state before the first update: trained, other and the optimizer's variables."""
        if seed not in self._started:
            keras.utils.set_random_seed(seed)
            self._started[seed] = self._state(self._model())
        return jax.tree.map(jnp.copy, self._started[seed])  # copies, as they are donated

    def _state(self, model):
        groups = model.trainable_variables, model.non_trainable_variables, self.optimizer.variables
        return tuple([variable.value for variable in group] for group in groups)

    def _shapes(self):
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self._state(self.model)
        )

    def lower_epoch(self, batch: int):
        """The epoch with batches of this size: `(state, images, labels, key, rate, momentum)`."""
        steps = self.examples // batch

        def run(state, images, labels, key, rate, momentum):
            order_key, key = jax.random.split(key)
            order = jax.random.permutation(order_key, self.examples)[: steps * batch]
            trained, other, slots = state
            slots = list(slots)
            for index, value in zip(self._settings, (rate, momentum), strict=True):
                slots[index] = jnp.asarray(value, slots[index].dtype)

            def step(state, given):
                indices, key = given
                trained, other, slots = state
                x, y = crop_flip(images[indices], key), labels[indices]
                (loss, other), gradients = jax.value_and_grad(self._loss, has_aux=True)(
                    trained, other, x, y
                )
                trained, slots = self.optimizer.stateless_apply(slots, gradients, trained)
                return (trained, other, slots), loss

            given = order.reshape(steps, batch), jax.random.split(key, steps)
            state, losses = lax.scan(step, (trained, other, slots), given)
            return state, jnp.mean(losses)

        number = jnp.float32(0.0)
        return jax.jit(run, donate_argnums=0).lower(
            self._shapes(), *self.data["train"], jax.random.key(0), number, number
        )

    def _loss(self, trained, other, x, y):
        logits, other, extra = self.model.stateless_call(
            trained, other, x, training=True, return_losses=True
        )
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
        return sum(extra) - jnp.mean(picked), other

    def lower_accuracy(self):
        """`(trained, other, images, labels) -> share of right answers`."""

        def run(trained, other, images, labels):
            def right(batch):
                x, y = batch
                logits, _ = self.model.stateless_call(trained, other, x, training=False)
                return jnp.mean(jnp.argmax(logits, -1) == y)

            pieces = max(images.shape[0] // 1000, 1)
            batches = images.reshape(pieces, -1, *images.shape[1:]), labels.reshape(pieces, -1)
            return jnp.mean(lax.map(right, batches))

        trained, other, _ = self._shapes()
        return jax.jit(run).lower(trained, other, *self.data["test"])

    def program(self, report, part: str, name):
        """The compiled epoch of a batch size, or "accuracy"; compiled by the first call."""
        if name not in self._programs:
            lowered = self.lower_accuracy() if name == "accuracy" else self.lower_epoch(name)
            begin = time.monotonic()
            self._programs[name] = lowered.compile()
            note = {"compile seconds": round(time.monotonic() - begin, 1)}
            note |= _memory(self._programs[name])
            report.note(part, f"program {self.policy} {name}", note)
        return self._programs[name]


def _memory(compiled) -> dict:
    """Megabytes that a program needs beside its arguments, and those of its arguments."""
    try:
        analysis = compiled.memory_analysis()
        return {
            "MB of temporaries": round(analysis.temp_size_in_bytes / 1e6),
            "MB of arguments": round(analysis.argument_size_in_bytes / 1e6),
        }
    except (AttributeError, NotImplementedError):
        return {}


_TRAININGS = {}


def _training(report, arguments, policy="mixed_bfloat16") -> Training:
    policy = "float32" if arguments.tiny else policy  # a CPU takes its time over bfloat16
    if policy not in _TRAININGS:
        begin = time.monotonic()
        data = cifar10(arguments.data, arguments.tiny)
        report.say(f"data on the device after {time.monotonic() - begin:.1f} s")
        if not arguments.tiny and not arguments.data.exists():
            report.note("steps", "data", "random, as there is no file")
        _TRAININGS[policy] = Training(data, arguments.tiny, policy)
    return _TRAININGS[policy]


def _batches(arguments):
    return (8, 16, 32) if arguments.tiny else BATCHES


def steps(report, arguments):
    """Milliseconds a step and images a second in bfloat16."""
    training = _training(report, arguments)
    for batch in _batches(arguments):
        _time_epochs(report, training, batch)
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        report.note("steps", "peak MB in use so far", round(stats["peak_bytes_in_use"] / 1e6))


def _time_epochs(report, training, batch):
    program = training.program(report, "steps", batch)
    count = training.examples // batch
    state = training.start(0)
    seconds = []
    for epoch in range(2 if training.tiny else 4):
        key = jax.random.key(epoch)
        begin = time.perf_counter()
        state, loss = program(
            state, *training.data["train"], key, jnp.float32(0.01), jnp.float32(0.9)
        )
        loss = float(loss)
        seconds.append(time.perf_counter() - begin)
    middle = statistics.median(seconds[1:])
    training.seconds_an_epoch[batch] = middle
    figure = {
        "milliseconds a step": round(1000 * middle / count, 3),
        "images a second": round(count * batch / middle),
        "seconds of the epochs": [round(each, 3) for each in seconds],
        "loss": round(loss, 4),
    }
    report.note("steps", f"{training.policy} batch {batch}", figure)


def fit(report, arguments):
    """Plain Keras `fit` on arrays without augmentation: the second epoch."""
    data = cifar10(arguments.data, arguments.tiny)
    images, labels = (np.asarray(array) for array in data["train"])
    for batch in _batches(arguments)[:1]:
        keras.mixed_precision.set_dtype_policy("float32" if arguments.tiny else "mixed_bfloat16")
        depth, width = (10, 1) if arguments.tiny else (16, 4)
        model = models.wide_resnet(depth, width, weight_decay=5e-4)
        keras.mixed_precision.set_dtype_policy("float32")
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        clock = _EpochTimes()
        model.fit(images, labels, batch_size=batch, epochs=3, verbose=0, callbacks=[clock])
        seconds = statistics.median(clock.seconds[1:])
        figure = {
            "images a second": round(len(labels) / seconds),
            "seconds of the epochs": [round(each, 3) for each in clock.seconds],
        }
        report.note("fit", f"plain Keras fit, batch {batch}", figure)


class _EpochTimes(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._begin)


# The paper


def plan_of(arm: str, epochs: int, examples: int, tiny: bool):
    """The paper's plan of an arm, its boundaries at 30, 60 and 80 % of the epochs."""
    config = config_of_smith2018.get_config("paper_cifar10")
    settings = {**config.plan.to_dict(), **config.arms[arm].plan.to_dict()}
    settings.pop("name")
    boundaries = [b * epochs // config.plan.epochs for b in config.plan.boundaries]
    settings |= {"epochs": epochs, "boundaries": boundaries, "num_examples": examples}
    if tiny:
        settings |= {"batch_size": 4, "max_batch_size": 40, "factor": 2.0}
        if settings["increased_learning_rate"]:
            settings["increased_learning_rate"] = 0.2
    return planning.noise_scale_plan(**settings)


def smith2018(report, arguments):
    """The four arms of section 5.2 one after another, so that wall clocks mean something.

    All programs are compiled before the epochs are chosen, so that compiling takes nothing of the
    time that these are to fill: as many, in tens, as let every arm of every seed end. The first
    seed's arms come in the paper's order, those of others shortest first; where even 10 epochs are
    too many, a run that would not end in time is left out.
    """
    training = _training(report, arguments)
    plans = {arm: plan_of(arm, 10, training.examples, arguments.tiny) for arm in ARMS}
    batches = {phase.batch_size for plan in plans.values() for phase in plan.phases}
    for name in ("accuracy", *sorted(batches)):
        training.program(report, "smith2018", name)
    _time_second_epochs(report, training, batches - set(training.seconds_an_epoch))
    an_epoch = sum(_seconds_of(training, plan) for plan in plans.values()) / 10  # of all arms
    fitting = 0.95 * (report.seconds_left() - SECONDS_TO_END) / an_epoch / arguments.seeds
    epochs = min(arguments.epochs or MOST_EPOCHS, max(int(fitting) // 10 * 10, 10))
    plans = {arm: plan_of(arm, epochs, training.examples, arguments.tiny) for arm in ARMS}
    cost = {arm: _seconds_of(training, plan) for arm, plan in plans.items()}
    report.note("smith2018", "epochs", epochs)
    report.note("smith2018", "seconds expected", {arm: round(cost[arm], 1) for arm in ARMS})
    for index in range(arguments.seeds):
        seed = arguments.first_seed + index
        for arm in sorted(ARMS, key=cost.get) if index else ARMS:
            if cost[arm] > report.seconds_left() - SECONDS_TO_END:
                report.note("smith2018", f"{arm}, seed {seed}", "no time left")
            else:
                _train(report, training, arm, seed, plans[arm])


def _seconds_of(training, plan) -> float:
    """What a run of a plan takes, an accuracy now and then with it."""
    each = training.seconds_an_epoch
    return sum(each[plan.batch_size(epoch)] + 0.02 for epoch in range(plan.epochs))


def _time_second_epochs(report, training, batches) -> None:
    for batch in batches:
        program = training.program(report, "smith2018", batch)
        state = training.start(0)
        for epoch in range(2):
            begin = time.perf_counter()
            rate = jnp.float32(0.001), jnp.float32(0.9)
            key = jax.random.key(epoch)
            state, loss = program(state, *training.data["train"], key, *rate)
            float(loss)
            training.seconds_an_epoch[batch] = time.perf_counter() - begin


def _train(report, training, arm, seed, plan):
    """One run; its record is written every few epochs."""
    state = training.start(seed)
    key = jax.random.key(1000 + seed)
    record = {"arm": arm, "seed": seed, "plan": plan.to_dict(), "losses": [], "accuracies": []}
    seconds = 0.0
    for epoch in range(plan.epochs):
        key, now = jax.random.split(key)
        begin = time.perf_counter()
        program = training.program(report, "smith2018", plan.batch_size(epoch))
        state, loss = program(
            state,
            *training.data["train"],
            now,
            jnp.float32(plan.learning_rate(epoch)),
            jnp.float32(plan.momentum(epoch)),
        )
        record["losses"].append(round(float(loss), 5))
        seconds += time.perf_counter() - begin
        last = epoch == plan.epochs - 1
        if last or epoch % 10 == 9:
            program = training.program(report, "smith2018", "accuracy")
            accuracy = program(*state[:2], *training.data["test"])
            record["accuracies"].append([epoch + 1, round(float(accuracy), 5)])
            record |= {
                "epochs": epoch + 1,
                "test_accuracy": round(float(accuracy), 5),
                "updates": int(state[2][training.iterations]),
                "updates_of_the_plan": plan.updates(),
                "training_seconds": round(seconds, 2),
                "done": last,
            }
            report.keep("smith2018", f"{arm}, seed {seed}", dict(record))
    shown = ("test_accuracy", "updates", "updates_of_the_plan", "training_seconds", "done")
    report.say(f"smith2018: {arm}, seed {seed}: { ({name: record[name] for name in shown}) }")
