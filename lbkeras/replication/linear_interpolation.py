"""Evaluates loss and metrics along the straight line between two trained models."""

import math
from pathlib import Path

import numpy as np

from lbkeras import files
from lbkeras.errors import UserError, unknown_name
from lbkeras.keras_internals.backend_start import load_backend
from lbkeras.runs import build, experiment
from lbkeras.runs.train_section import keras_session

POSITIONS = tuple(np.linspace(-1.0, 2.0, 25).tolist())
_KEYS = ("start", "end", "examples")


def evaluate_line(start, end, train, test, positions=POSITIONS) -> dict[str, list]:
    """Evaluates the models on the line through two trained models.

        x(alpha) = alpha * x_end + (1 - alpha) * x_start

    for all trainable weights x and for the moving means of batch normalization. Each moving
    variance plus its layer's epsilon, v, is interpolated in logarithms,
    v(alpha) = v_end^alpha * v_start^(1 - alpha), and so stays positive beyond the ends. At
    alpha = 0 and 1 the models are exactly `start` and `end`.

    Args:
        start, end: built models with the same layers; `start` must be compiled. Neither is changed.
        train, test: `lbkeras.data.Pipeline`s for evaluation (`train.in_order(batch_size)`).
        positions: the values of alpha.

    Returns:
        `{"alpha": [...], "loss": [...], "val_loss": [...]}`, and two such lists for each metric of
        `start`, such as `accuracy` and `val_accuracy`.

    Raises:
        UserError: the models differ in the shape of a weight.

    Cost: one pass of evaluation over both data sets per position.

    Differs from the paper: the authors' code interpolates only the trainable weights and uses the
    large batch's batch-norm statistics everywhere, so its curve at alpha = 0 is not that of the
    small batch's model.

    Example:

    >>> import keras, lbkeras
    >>> layers = [keras.layers.Dense(1, kernel_initializer=name) for name in ("zeros", "ones")]
    >>> start, end = (keras.Sequential([keras.Input((1,)), layer]) for layer in layers)
    >>> start.compile(loss="mse")
    >>> data = lbkeras.data.Pipeline((np.ones((4, 1)), np.ones((4, 1))), 4, shuffle=False)
    >>> evaluate_line(start, end, data, data, positions=[0.0, 1.0, 2.0])["loss"]
    [1.0, 0.0, 1.0]

    Reference: Keskar, Mudigere, Nocedal, Smelyanskiy, Tang, "On Large-Batch Training for Deep
    Learning: Generalization Gap and Sharp Minima", arXiv:1609.04836, section 2.2.1;
    keskarnitish/large-batch-training, plot_parametric_plot.py.
    """
    first, last = start.get_weights(), end.get_weights()
    shapes = [[weight.shape for weight in weights] for weights in (first, last)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"end: expected a model with the weights of start, {_described(first)}, "
            f"received {_described(last)}"
        )
    epsilons = _variances(start)
    line = {"alpha": [float(alpha) for alpha in positions]}
    try:
        for alpha in line["alpha"]:
            weights = [
                _between(a, b, alpha, epsilons.get(index))
                for index, (a, b) in enumerate(zip(first, last, strict=True))
            ]
            start.set_weights(weights)
            for prefix, data in (("", train), ("val_", test)):
                values = start.evaluate(data, verbose=0, return_dict=True)
                for name, value in values.items():
                    line.setdefault(prefix + name, []).append(float(value))
    finally:
        start.set_weights(first)
    return line


def check_line(config) -> None:
    """Checks a config's section `linear_interpolation`, if it has one.

    The section has `start` and `end`, names of two arms, and `examples`, the number of training
    examples to evaluate on (the first ones in the source's order; 0: all).

    Raises:
        UserError: a key is missing or unknown, an arm does not exist, or both arms are the same.
    """
    section, where = config.get("linear_interpolation"), "config.linear_interpolation"
    if section is None:
        return
    for key in section:
        if key not in _KEYS:
            raise UserError(unknown_name(where, key, _KEYS))
    for key in _KEYS:
        if key not in section:
            raise UserError(f"{where}.{key}: expected a value, received none")
    arms = experiment.arm_names(config)
    for key in ("start", "end"):
        if section[key] not in arms:
            raise UserError(unknown_name(f"{where}.{key}", section[key], arms))
    if section.start == section.end:
        raise UserError(
            f"{where}.end: expected an arm other than {section.start}, received the same"
        )


def write_lines(config, seeds, workdir: Path, data_dir: str | None = None) -> None:
    """Evaluates the line between two arms of a replication and writes a file per seed.

    Writes `line_seed_N.json` to the replication's folder for each seed for which both arms have a
    saved model: `arms`, and what `evaluate_line` returns. Existing files are kept. Does nothing for
    a config without `linear_interpolation`.

    Args:
        config: the replication's config.
        seeds: the replication's seeds.
        workdir: the replication's folder, with the runs.
        data_dir: the folder with prepared TFDS data.

    Raises:
        UserError: as `check_line`; or the models differ in the shape of a weight.
    """
    check_line(config)
    section = config.get("linear_interpolation")
    if section is None:
        return
    arms = [section.start, section.end]
    for seed in seeds:
        file = workdir / f"line_seed_{seed}.json"
        models = [workdir / arm / f"seed_{seed}" / "model.keras" for arm in arms]
        if file.exists() or not all(model.exists() for model in models):
            continue
        print(f"line from {arms[0]} to {arms[1]}, seed {seed}: {len(POSITIONS)} models", flush=True)
        settings = experiment.arm_settings(config, arms[0])
        line = _evaluate_saved(models, settings, section.examples, seed, data_dir)
        finite = {
            name: [value if math.isfinite(value) else None for value in values]
            for name, values in line.items()
        }
        files.write_json(file, {"arms": arms} | finite)


def _evaluate_saved(models, settings: dict, examples: int, seed: int, data_dir) -> dict[str, list]:
    load_backend()
    import keras

    from lbkeras.runs.reading import reading_data

    with keras_session(settings, seed), reading_data(settings["data"]["name"]):
        train, test = build.make_pipelines(settings, 1, seed, data_dir)
        train = train.in_order(settings["data"]["test_batch_size"], examples or None)
        start, end = (keras.models.load_model(model, compile=False) for model in models)
        build.compile_model(start, settings)
        return evaluate_line(start, end, train, test)


def _between(start: np.ndarray, end: np.ndarray, alpha: float, epsilon: float | None) -> np.ndarray:
    """Returns the weight at alpha; with an epsilon, interpolates log(weight + epsilon)."""
    if alpha in (0, 1) or start.dtype.kind not in "fV":
        return end if alpha == 1 else start
    first, last = start.astype(np.float64), end.astype(np.float64)
    if epsilon is None:
        return (alpha * last + (1 - alpha) * first).astype(start.dtype)
    exponent = alpha * np.log(last + epsilon) + (1 - alpha) * np.log(first + epsilon)
    return np.maximum(np.exp(exponent) - epsilon, 0).astype(start.dtype)


def _variances(model) -> dict[int, float]:
    """Returns the layer's epsilon for each weight that is a moving variance, by weight index."""
    from lbkeras.keras_internals.model import layers

    places = {id(weight): index for index, weight in enumerate(model.weights)}
    return {
        places[id(layer.moving_variance)]: layer.epsilon
        for layer in layers(model)
        if id(getattr(layer, "moving_variance", None)) in places
    }


def _described(weights) -> str:
    return f"{len(weights)} arrays of {sum(weight.size for weight in weights):,} numbers"
