"""Compares lbkeras' optimizers with other implementations: 20 steps with a growing learning rate.

    pip install optax tf_keras torch timm adamp       only installed packages are compared
    pip download --no-deps tf-models-official         unpack lars.py and lamb.py from it
    python tools/check_optimizer_references.py --tensorflow-models=FOLDER_OF_THE_TWO_FILES

It prints two figures for each pair, each the largest `|a - b| / |b|` over the tensors after the
last step. The first compares lbkeras in float32 with the other code in float64. The second compares
the tests' NumPy restatement in float64 with it, which shows whether the formulas are the same. All
get the same gradients: of a dense and a convolution kernel, a bias, gamma and beta; for AdamP and
SGDP, gradients that are projected by channel, by layer and not at all. PyTorch gets kernels with
the output channel first.

The exit status is 1 if the first figure of a pair is above 1e-5 or the second above 1e-9, unless
the difference is known. Packages that are not installed are named and skipped.
"""

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import numpy as np  # noqa: E402
from bench_optimizers_torch import timm_optimizer  # noqa: E402

from lbkeras import optimizers  # noqa: E402
from tests.optimizers import problem, projection_cases, restatements  # noqa: E402

OURS_WITHIN, FORMULA_WITHIN = 1e-5, 1e-9
LARS = dict(momentum=0.9, weight_decay=0.01, trust_coefficient=0.05)
JOINT = dict(LARS, norm="joint")
OUTSIDE = dict(LARS, epsilon=1e-8, learning_rate_in_momentum=False)
LAMB = dict(weight_decay=0.1, epsilon=1e-6)
# tensorflow/models keeps LAMB's settings in float32
LAMB_FLOAT32 = {
    key: float(np.float32(value))
    for key, value in dict(weight_decay=0.1, beta_1=0.9, beta_2=0.999).items()
}
ADAMP = dict(weight_decay=0.1)
SGDP = dict(weight_decay=0.1, momentum=0.9)
NESTEROV = dict(nesterov=True)
IN_PLACE = "adamp projects its momentum buffer in place, which the paper and timm do not"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tensorflow-models", type=Path, help="folder of lars.py and lamb.py")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    failed = False
    for rule, name, reference, settings, *known in pairs(arguments.tensorflow_models):
        try:
            failed |= compare(rule, name, reference, settings, known)
        except ImportError as error:
            print(f"{rule:5} {name:17} skipped: {error}")
    sys.exit(failed)


def pairs(models: Path | None):
    """Yields our optimizer, the other's name and function, our settings and a known difference."""
    tensorflow_models = "tensorflow/models"
    for more in ({}, NESTEROV):
        yield "LARS", tensorflow_models, lambda *a: tfm(models, "LARS", *a), {**JOINT, **more}
        yield "LARS", "optax", optax_lars, {**JOINT, **more}
        yield "LARS", "timm", timm_lars, {**OUTSIDE, **more}
        yield "LARS", "timm", timm_lars, {**OUTSIDE, **more, "clip": True}
    yield "LAMB", tensorflow_models, lambda *a: tfm(models, "LAMB", *a), {**LAMB, **LAMB_FLOAT32}
    yield "LAMB", "optax", optax_lamb, LAMB
    yield "LAMB", "timm", timm_lamb, LAMB
    for more in ({}, NESTEROV, {"delta": 0.0}):
        yield "AdamP", "adamp", projecting("adamp", "AdamP"), {**ADAMP, **more}
        yield "AdamP", "timm", projecting("timm", "AdamP"), {**ADAMP, **more}
        known = () if more else (IN_PLACE,)
        yield "SGDP", "adamp", projecting("adamp", "SGDP"), {**SGDP, **more}, *known
        yield "SGDP", "timm", projecting("timm", "SGDP"), {**SGDP, **more}


def compare(rule: str, name: str, reference, settings, known) -> bool:
    """Prints one pair's figures and returns whether they are too large."""
    restated = getattr(restatements, rule.lower())
    if rule in ("AdamP", "SGDP"):
        *case, _ = projection_cases.make_case(restated, **settings)
    else:
        case = problem.make_problem()
    theirs, version = reference(settings, *case)
    formula = difference(restatements.trajectory(restated, *case[1:], **settings), theirs)
    optimizer = getattr(optimizers, rule, None)
    ours = "missing"
    failed = formula > FORMULA_WITHIN
    if optimizer:
        distance = difference(problem.run(optimizer(case[3][0], **settings), *case), theirs)
        failed |= distance > OURS_WITHIN
        ours = f"{distance:.1e}"
    told = ", ".join(f"{key}={value}" for key, value in settings.items())
    verdict = f"DIFFERS{', known: ' + known[0] if known else ''}" if failed else "agrees"
    print(f"{rule:5} {name:17} {version:13} ours {ours} formula {formula:.1e} {verdict} ({told})")
    return failed and not known


def difference(ours, theirs) -> float:
    return max(
        float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b))
        for a, b in zip(ours, theirs, strict=True)
    )


def tfm(folder: Path | None, cls: str, settings, names, weights, gradients, rates):
    """Runs LARS or LAMB of tensorflow/models: Keras 2 optimizers, one file each."""
    if folder is None:
        raise ImportError("tensorflow/models needs --tensorflow-models=FOLDER")
    import tensorflow as tf
    import tf_keras  # noqa: F401

    path = folder / f"{cls.lower()}.py"
    spec = importlib.util.spec_from_file_location(f"tensorflow_models_{cls}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    excluded = ["bias", "gamma", "beta"]
    if cls == "LARS":
        more = dict(
            eeta=settings["trust_coefficient"],
            momentum=settings["momentum"],
            nesterov=settings.get("nesterov", False),
        )
    else:
        more = dict(epsilon=settings["epsilon"])
    optimizer = getattr(module, cls)(
        learning_rate=rates[0],
        weight_decay_rate=settings["weight_decay"],
        exclude_from_weight_decay=excluded,
        exclude_from_layer_adaptation=excluded,
        **more,
    )
    variables = [
        tf.Variable(w, dtype=tf.float64, name=name) for name, w in zip(names, weights, strict=True)
    ]
    for step, rate in zip(gradients, rates, strict=True):
        optimizer.learning_rate = rate
        step = [tf.constant(g, tf.float64) for g in step]
        optimizer.apply_gradients(zip(step, variables, strict=True))
    return [v.numpy() for v in variables], "keras " + importlib.metadata.version("tf_keras")


def optax_lars(settings, names, weights, gradients, rates):
    optax = _import("optax")
    masked = [w.ndim > 1 for w in weights]
    rule = lambda rate: optax.lars(  # noqa: E731
        rate,
        weight_decay=settings["weight_decay"],
        weight_decay_mask=masked,
        trust_coefficient=settings["trust_coefficient"],
        trust_ratio_mask=masked,
        momentum=settings["momentum"],
        nesterov=settings.get("nesterov", False),
    )
    return _optax(optax, rule, weights, gradients, rates)


def optax_lamb(settings, names, weights, gradients, rates):
    """Runs optax.lamb, which scales every tensor, and optax.adam for excluded tensors."""
    optax = _import("optax")
    labels = ["kernel" if w.ndim > 1 else "vector" for w in weights]
    moments = dict(b1=0.9, b2=0.999, eps=settings["epsilon"])
    rule = lambda rate: optax.multi_transform(  # noqa: E731
        {
            "kernel": optax.lamb(rate, weight_decay=settings["weight_decay"], **moments),
            "vector": optax.adam(rate, **moments),
        },
        labels,
    )
    return _optax(optax, rule, weights, gradients, rates)


def _optax(optax, rule, weights, gradients, rates):
    import jax

    jax.config.update("jax_enable_x64", True)
    weights = [jax.numpy.asarray(w, "float64") for w in weights]
    rule = rule(lambda count: jax.numpy.asarray(rates)[count])
    state = rule.init(weights)
    for step in gradients:
        step = [jax.numpy.asarray(g, "float64") for g in step]
        updates, state = rule.update(step, state, weights)
        weights = optax.apply_updates(weights, updates)
    return [np.asarray(w) for w in weights], importlib.metadata.version("optax")


def timm_lars(settings, names, weights, gradients, rates):
    more = dict(
        momentum=settings["momentum"],
        trust_coeff=settings["trust_coefficient"],
        eps=settings["epsilon"],
        nesterov=settings.get("nesterov", False),
        trust_clip=settings.get("clip", False),
    )
    make = _torch_class("timm", "Lars")
    return _torch(make, "timm", settings["weight_decay"], more, weights, gradients, rates)


def timm_lamb(settings, names, weights, gradients, rates):
    make = _torch_class("timm", "Lamb")
    more = dict(max_grad_norm=None, eps=settings["epsilon"])
    return _torch(make, "timm", settings["weight_decay"], more, weights, gradients, rates)


def projecting(package: str, name: str):
    """Returns a function that runs AdamP or SGDP of clovaai or timm, which decay every tensor."""

    def reference(settings, names, weights, gradients, rates):
        more = {key: value for key, value in settings.items() if key != "weight_decay"}
        decay = settings["weight_decay"]
        make = _torch_class(package, name)
        return _torch(make, package, decay, more, weights, gradients, rates, decay_all=True)

    return reference


def _torch_class(package: str, name: str):
    _import("torch")
    if package == "timm":
        return timm_optimizer(name)
    return getattr(_import(package), name)


def _torch(make, package, decay, more, weights, gradients, rates, decay_all=False):
    import torch

    def tensor(array):
        """Returns a float64 tensor with the output channel first."""
        array = np.moveaxis(array.astype(np.float64), -1, 0)
        return torch.tensor(np.ascontiguousarray(array))

    parameters = [torch.nn.Parameter(tensor(w)) for w in weights]
    groups = [
        {"params": [p], "weight_decay": decay if decay_all or p.ndim > 1 else 0.0}
        for p in parameters
    ]
    optimizer = make(groups, lr=rates[0], **more)
    for step, rate in zip(gradients, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for parameter, g in zip(parameters, step, strict=True):
            parameter.grad = tensor(g)
        optimizer.step()
    values = [np.moveaxis(p.detach().numpy(), 0, -1) for p in parameters]
    return values, importlib.metadata.version(package)


def _import(name: str):
    return importlib.import_module(name)


if __name__ == "__main__":
    main()
