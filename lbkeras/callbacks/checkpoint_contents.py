"""The parts of a model that a checkpoint holds, and checks that a checkpoint fits a run."""

from pathlib import Path

import keras
import numpy as np

from lbkeras.callbacks.callback_attributes import only_shows
from lbkeras.callbacks.optimizer_settings import base_optimizer
from lbkeras.distribution.replica_values import get_replica_values, set_replica_values
from lbkeras.errors import UserError
from lbkeras.keras_internals.jax_state import own_variables
from lbkeras.keras_internals.model import build, is_built

OTHER_VERSION = "resume it with the lbkeras and the program that wrote it, or train from the start"


def variables_of(model) -> dict:
    """Returns the variables of the model and its optimizer, by name.

    Variables of callbacks, which the optimizer carries on JAX, are left out.
    """
    slots = own_variables(model.optimizer.variables, base_optimizer(model.optimizer))
    named = {f"optimizer/{i}": v for i, v in enumerate(slots)}
    return named | {f"model/{i}": v for i, v in enumerate(model.variables)}


def metrics_of(model) -> dict:
    variables = own_variables(model.metrics_variables, model)
    return {f"metrics/{i}": v for i, v in enumerate(variables)}


def metrics_arrays(model) -> dict[str, np.ndarray]:
    """Returns the metrics of the current epoch, with several replicas also each replica's values.

    Dividing their sum among the replicas again would round differently.
    """
    variables = metrics_of(model)
    arrays = {name: array_of(variable) for name, variable in variables.items()}
    strategy = _several_replicas(model)
    if strategy is not None:
        stacks = get_replica_values(strategy, list(variables.values()))
        arrays |= {f"replica_{name}": values for name, values in zip(arrays, stacks, strict=True)}
    return arrays


def restore_metrics(model, arrays: dict) -> None:
    """Restores the values of `metrics_arrays`, also on another number of replicas."""
    variables, strategy = metrics_of(model), _several_replicas(model)
    stacks = [arrays.get(f"replica_{name}") for name in variables]
    if strategy is not None and all(
        values is not None and len(values) == strategy.num_replicas_in_sync for values in stacks
    ):
        set_replica_values(strategy, list(variables.values()), stacks)
    else:
        for name, variable in variables.items():
            variable.assign(arrays[name])


def _several_replicas(model):
    """Returns the model's strategy if it has several replicas, else None."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy if strategy is not None and strategy.num_replicas_in_sync > 1 else None


def build_metrics(model, pipeline) -> None:
    """Creates the metrics' variables, as Keras does at the first step, without computing."""
    if not is_built(model):
        build(
            model,
            keras.tree.map_structure(
                lambda part: keras.KerasTensor(tuple(part.shape), part.dtype.name),
                pipeline.element_spec,
            ),
        )


def array_of(variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def check_fits(path: Path, state: dict, arrays: dict, model) -> None:
    """Checks that a checkpoint's optimizer classes and variables are those of the model.

    Shapes alone do not tell optimizers apart, or a model from one with only its first layers.
    """
    expected = f"checkpoint {path}: expected one of this model and optimizer, "
    classes = optimizer_classes(model.optimizer)
    written = state.get("optimizer", classes)  # 0.1.0 did not write it
    if written != classes:
        raise UserError(f"{expected}{classes}, received one of {written}")
    variables = variables_of(model)
    for name, variable in variables.items():
        received = arrays[name].shape if name in arrays else "nothing"
        if received != tuple(variable.shape):
            raise UserError(
                f"{expected}{variable.path} of shape {tuple(variable.shape)}, received {received}"
            )
    for name, array in arrays.items():
        if name.startswith(("optimizer/", "model/")) and name not in variables:
            whose = name.split("/")[0]
            number = sum(each.startswith(whose) for each in variables)
            raise UserError(
                f"{expected}whose {whose} has {number} variables, received one more, of shape "
                f"{array.shape}"
            )


def optimizer_classes(optimizer) -> str:
    """Returns the class name of an optimizer, `Wrapper(Inner)` under loss scaling."""
    inner = getattr(optimizer, "inner_optimizer", None)
    name = type(optimizer).__name__
    return name if inner is None else f"{name}({optimizer_classes(inner)})"


def owners(path: Path, states: list[dict], callbacks: list) -> list[tuple]:
    """Returns pairs of callback and saved state.

    Callbacks of one class get its states in the order of the list.
    """
    pairs, left = [], list(callbacks)
    if any("class" not in saved for saved in states):  # 0.1.0 matched them by position
        if len(states) != len(callbacks):
            raise UserError(
                f"checkpoint {path}: expected the states of this run's {len(callbacks)} callbacks, "
                f"received {len(states)}; {OTHER_VERSION}"
            )
        return list(zip(callbacks, states, strict=True))
    for saved in states:
        name = saved["class"]
        callback = next((each for each in left if type(each).__name__ == name), None)
        if callback is not None:
            left.remove(callback)
            pairs.append((callback, saved))
        elif len(saved) > 1 and not only_shows(name):
            raise UserError(
                f"checkpoint {path}: expected the {name} whose state it holds among this run's "
                f"callbacks, received {', '.join(type(c).__name__ for c in callbacks) or 'none'}; "
                f"{OTHER_VERSION}"
            )
    return pairs
