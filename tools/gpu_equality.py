"""Parts of gpu_report.py: compares the device's results with float64 NumPy and with the CPU."""

import sys
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from lbkeras import layers, models, optimizers
from lbkeras.optimizers import norms

STEPS = 30
SHAPES = {
    "stem/kernel": (7, 7, 3, 64),
    "large/kernel": (3, 3, 128, 256),
    "dense/kernel": (512, 1000),
    "odd/kernel": (5, 7),
    "dense/bias": (1000,),
    "normalization/gamma": (64,),
}


def equality(report, arguments):
    """Reports the largest relative differences of optimizers, layers and a short training."""
    with jax.default_matmul_precision("highest"):
        _norms(report)
        _optimizers(report, arguments)
        _layers(report, arguments)
        _short_training(report, arguments)


def _norms(report):
    """Compares the norms in their form for GPUs with float64."""
    shapes = [(1,), (257,), (5, 7), (7, 7, 3, 64), (1000, 301), (65_537,), (1731, 1733)]
    rng = np.random.default_rng(0)
    pairs = [tuple(rng.normal(size=shape).astype("float32") for _ in range(2)) for shape in shapes]
    with mock.patch.object(norms, "on_gpu", lambda: True):
        found = jax.jit(norms.l2_norms)(pairs)
    exact = [np.linalg.norm(x.astype("float64").ravel()) for pair in pairs for x in pair]
    ours = [np.asarray(length) for lengths in found for length in lengths]
    report.note("equality", "norms together against float64", _difference(ours, exact))
    report.note("equality", "such norms are what the optimizers have here", norms.on_gpu())


def _optimizers(report, arguments):
    """Compares 30 updates with the tests' restatements of the papers in float64."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/optimizers"))
    import problem
    import restatements

    steps = 5 if arguments.tiny else STEPS
    names, weights, gradients, rates = problem.make_problem(shapes=SHAPES, steps=steps)
    decay = {"weight_decay": 0.01}
    cases = {
        "LARS": (optimizers.LARS, restatements.lars, decay | {"trust_coefficient": 0.05}),
        "LAMB": (optimizers.LAMB, restatements.lamb, decay),
        "AdamP": (optimizers.AdamP, restatements.adamp, decay),
        "SGDP": (optimizers.SGDP, restatements.sgdp, decay | {"momentum": 0.9}),
    }
    for name, (optimizer, rule, settings) in cases.items():
        ours = _trained(optimizer(0.1, **settings), problem, names, weights, gradients, rates)
        expected = restatements.trajectory(rule, weights, gradients, rates, **settings)
        report.note("equality", f"{name} against float64", _difference(ours, expected))


def _trained(optimizer, problem, names, weights, gradients, rates):
    """Returns the weights after all updates, each a call of one compiled function."""
    variables = problem.make_variables(names, weights)
    optimizer.build(variables)
    values = [variable.value for variable in variables]
    slots = [variable.value for variable in optimizer.variables]
    place = next(i for i, v in enumerate(optimizer.variables) if "learning_rate" in v.path)

    @jax.jit
    def update(values, slots, gradients, rate):
        slots = [rate if i == place else slot for i, slot in enumerate(slots)]
        return optimizer.stateless_apply(slots, gradients, values)

    for step, rate in enumerate(rates):
        values, slots = update(values, slots, gradients[step], jnp.float32(rate))
    return [np.asarray(value) for value in values]


def _layers(report, arguments):
    """Compares a training step's output, gradients and moving statistics with the CPU."""
    shape = (64, 8, 8, 32)
    training = {"training": True}
    cases = {
        "GhostBatchNormalization": (layers.GhostBatchNormalization(16), shape, training),
        "GhostBatchNormalization, uneven": (layers.GhostBatchNormalization(24), shape, training),
        "HadamardClassifier": (layers.HadamardClassifier(10), (64, 128), {}),
    }
    for name, (layer, shape, how) in cases.items():
        layer.build(shape)
        rng = np.random.default_rng(0)
        x = (3.0 + rng.normal(size=shape)).astype("float32")

        def step(trained, other, x, layer=layer, how=how):
            def loss(trained, x):
                y, new = layer.stateless_call(trained, other, x, **how)
                return jnp.sum(y * jnp.cos(jnp.arange(y.size).reshape(y.shape))), (y, new)

            return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(trained, x)

        trained = [np.asarray(v.value) for v in layer.trainable_variables]
        other = [np.asarray(v.value) for v in layer.non_trainable_variables]
        here, there = _on_both(step, trained, other, x)
        report.note("equality", f"{name} against the CPU", _difference(here, there))


def _short_training(report, arguments):
    """Compares 20 updates of a wide residual network in float32 with the CPU."""
    model = models.wide_resnet(10, 1)
    optimizer = optimizers.LARS(1.0, weight_decay=5e-4, trust_coefficient=0.02)
    optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 32, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, (20, 32), dtype=np.int32)

    @jax.jit
    def step(state, images, labels):
        trained, other, slots = state

        def loss(trained):
            logits, new = model.stateless_call(trained, other, images, training=True)
            right = jax.nn.log_softmax(logits)[jnp.arange(32), labels]
            return -jnp.mean(right), new

        (value, other), gradients = jax.value_and_grad(loss, has_aux=True)(trained)
        trained, slots = optimizer.stateless_apply(slots, gradients, trained)
        return (trained, other, slots), value

    groups = model.trainable_variables, model.non_trainable_variables, optimizer.variables
    start = tuple([np.asarray(v.value) for v in group] for group in groups)
    losses = []
    for device in _devices():
        state, values = jax.device_put(start, device), []
        with jax.default_device(device):
            for batch in zip(images, labels, strict=True):
                state, value = step(state, *jax.device_put(batch, device))
                values.append(np.asarray(value))
        losses.append(values)
    here, there = losses
    figure = {"first": _difference(here[:1], there[:1]), "all": _difference(here, there)}
    report.note("equality", "losses of 20 updates against the CPU", figure)


# A short fit, in two processes


def start_short_fits(report, arguments) -> list:
    """Starts `short_fits` on the device and on the CPU, in two processes."""
    from gpu_processes import Child

    children = []
    for name, environment in (("device", {}), ("cpu", {"JAX_PLATFORMS": "cpu"})):
        task = {"what": "short_fit", "file": str(_weights_file(report, name))}
        children.append(Child(task, report.scratch, arguments, environment=environment))
    return children


def _weights_file(report, name: str) -> Path:
    return report.scratch / f"short_fit_{name}.npz"


def short_fits(task: dict, arguments) -> dict:
    """Writes weights and losses of lbkeras' `fit`: 20 updates of SGD and of LARS in float32."""
    import keras

    from lbkeras import callbacks, planning
    from lbkeras.data import Pipeline
    from lbkeras.data.augmentation import random_crop_flip

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (320, 32, 32, 3), dtype=np.uint8)
    data = images, (images.mean((1, 2, 3)) * 1e3).astype(np.int32) % 10
    rules = {
        "SGD": (lambda rate: keras.optimizers.SGD(rate, momentum=0.9), 0.01),
        "LARS": (
            lambda rate: optimizers.LARS(rate, weight_decay=5e-4, trust_coefficient=0.02),
            0.5,
        ),
    }
    kept = {}
    for name, (rule, rate) in rules.items():
        model = models.wide_resnet(10, 1)
        draws = np.random.default_rng(1)
        for variable in model.trainable_variables:  # the same values on every device
            if len(variable.shape) > 1:
                fan_in = np.prod(variable.shape[:-1])
                variable.assign(draws.normal(size=variable.shape, scale=np.sqrt(2 / fan_in)))
        phase = dict(first_epoch=0, epochs=2, batch_size=32, learning_rate=rate, momentum=0.9)
        plan = planning.explicit_plan(phases=[phase], num_examples=320)
        train = Pipeline(data, 32, augment=random_crop_flip(4), seed=1)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(rule(plan.learning_rate_schedule()), loss)
        scheduler = callbacks.BatchSizeScheduler(train, plan)
        with jax.default_matmul_precision("highest"):
            history = model.fit(train, epochs=2, verbose=0, callbacks=[scheduler])
        kept[f"{name} losses"] = np.array(history.history["loss"])
        kept[f"{name} updates"] = np.array(int(model.optimizer.iterations))
        for index, variable in enumerate(model.trainable_variables):
            kept[f"{name} weights {index}"] = np.asarray(variable.value)
    batches = train.dataset(epoch=1).as_numpy_iterator()
    kept["batches"] = np.concatenate([x for x, _ in batches])
    np.savez(task["file"], **kept)
    return {"platform": jax.default_backend()}


def short_fit(report, arguments):
    """Compares the files that the two processes wrote."""
    files = [_weights_file(report, name) for name in ("device", "cpu")]
    if not all(file.exists() for file in files):
        report.note("short_fit", "error", "a process did not finish in time, or was not started")
        return
    here, there = (dict(np.load(file)) for file in files)
    same = bool(np.array_equal(here["batches"], there["batches"]))
    report.note("short_fit", "the same augmented batches as on the CPU", same)
    for name in ("SGD", "LARS"):
        keys = [key for key in here if key.startswith(f"{name} weights")]
        figure = {
            "updates": int(here[f"{name} updates"]),
            "weights": _difference([here[k] for k in keys], [there[k] for k in keys]),
            "losses": _difference([here[f"{name} losses"]], [there[f"{name} losses"]]),
        }
        report.note("short_fit", f"{name}, largest relative difference from the CPU", figure)


def _devices():
    return jax.devices()[0], jax.devices("cpu")[0]


def _on_both(function, *arguments):
    """Returns the leaves of a function's results on the device and on the CPU."""
    results = []
    for device in _devices():
        given = jax.device_put(arguments, device)
        with jax.default_device(device):
            leaves = jax.tree.leaves(jax.jit(function)(*given))
        results.append([np.asarray(leaf) for leaf in leaves])
    return results


def _difference(ours, expected) -> float:
    """Returns the largest |a - b| / |b| over pairs of tensors."""
    differences = [
        np.linalg.norm(np.subtract(a, b, dtype=np.float64)) / max(np.linalg.norm(b), 1e-30)
        for a, b in zip(ours, expected, strict=True)
    ]
    return float(f"{max(differences):.2g}")
