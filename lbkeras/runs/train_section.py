"""The section `train` of a config: precision, compilation, evaluation, averages and clipping.

- `precision`: "float32", "mixed_bfloat16" or "mixed_float16", Keras' dtype policy during the run.
  Weights and slots stay float32. "mixed_float16" scales the loss; updates that loss scaling skips
  are not counted.
- `jit_compile`: whether XLA compiles the steps: True, False or "auto", Keras' own choice.
- `steps_per_execution`: updates per call of the graph, at least 1; 0: chosen from the model.
- `validation_freq`: epochs per evaluation, at least 1; the last epoch is always evaluated. A run's
  final values on unseen examples are those of the last evaluation.
- `ema_momentum`: in [0, 1), the momentum of moving averages of the weights; 0: none. The averages
  are evaluated instead of the weights, and saved in model.keras.
- `clipnorm`, `global_clipnorm`, `clipvalue`: Keras' gradient clipping; at most one is above 0.
"""

import contextlib

from lbkeras import checks
from lbkeras.config import TRAIN as DEFAULTS
from lbkeras.errors import UserError, unknown_name

TRAIN = "train"
_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
_CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")
_MOST = 1_000_000
_SWITCHES = {"true": True, "false": False}


def check_place(key: str, place: str) -> None:
    """Refuses a key of `train` that is outside that section.

    Raises:
        UserError: the key belongs in `train`; the message gives its full name there.
    """
    if key in DEFAULTS:
        raise UserError(f"{place}.{key}: expected it as {place}.{TRAIN}.{key}, received it here")


def values_of(settings: dict, before: int = 0) -> dict:
    """Returns every key of an arm's section, with defaults for those that it does not set.

    Args:
        settings: the arm's sections.
        before: `steps_per_execution` of a config that sets it outside the section, as configs
            before 0.2.0 do.
    """
    values = DEFAULTS | settings.get(TRAIN, {})
    if values["steps_per_execution"] == 0:
        values["steps_per_execution"] = before
    if isinstance(values["jit_compile"], str):  # "auto", or from the command line
        values["jit_compile"] = _SWITCHES.get(values["jit_compile"].lower(), values["jit_compile"])
    return values


def chosen(settings: dict) -> dict:
    """Returns the values of an arm's section that differ from the defaults."""
    values = settings.get(TRAIN, {})
    return {key: value for key, value in values.items() if value != DEFAULTS.get(key)}


def claimed(settings: dict) -> dict:
    """Returns the section as a run's folder records it.

    Without `steps_per_execution`, which does not change the result. The defaults for a run before
    0.2.0, which has no such section.
    """
    values = values_of(settings)
    del values["steps_per_execution"]
    return values


def check(settings: dict) -> None:
    """Checks an arm's section.

    Raises:
        UserError: a key is unknown, a value has another type or is out of range, or gradients are
            clipped in two ways.
    """
    for key in settings.get(TRAIN, {}):
        if key not in DEFAULTS:
            raise UserError(unknown_name(TRAIN, key, DEFAULTS))
    values = values_of(settings)
    checks.choice(f"{TRAIN}.precision", values["precision"], _PRECISIONS)
    if values["jit_compile"] not in ("auto", True, False):
        raise UserError(
            f"{TRAIN}.jit_compile: expected 'auto', True or False, "
            f"received {values['jit_compile']!r}"
        )
    steps = values["steps_per_execution"]
    checks.integer(f"{TRAIN}.steps_per_execution", steps, minimum=0, maximum=_MOST)
    checks.integer(f"{TRAIN}.validation_freq", values["validation_freq"], minimum=1)
    checks.momentum(f"{TRAIN}.ema_momentum", values["ema_momentum"])
    for key in _CLIPPING:
        checks.not_negative(f"{TRAIN}.{key}", values[key])
    optimizer = settings["optimizer"]
    given = [f"optimizer.{key}" for key in _CLIPPING if optimizer.get(key)]
    given += [f"{TRAIN}.{key}" for key in _CLIPPING if values[key]]
    if len(given) > 1:
        raise UserError(f"{given[1]}: expected one way to clip gradients, received {given[0]} too")
    if values["ema_momentum"] and optimizer.get("use_ema"):
        raise UserError(
            f"{TRAIN}.ema_momentum: expected none with optimizer.use_ema, "
            f"received {values['ema_momentum']!r}"
        )


@contextlib.contextmanager
def keras_session(settings: dict, seed: int):
    """Starts a new Keras session with new layer names, the seed and the arm's precision.

    Afterwards the former dtype policy is restored. The session also uses it if the arm does not set
    a precision.
    """
    import keras

    before = keras.config.dtype_policy()
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(settings.get(TRAIN, {}).get("precision", before))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def prepare_optimizer(optimizer, settings: dict) -> None:
    """Sets the arm's clipping and averages on an optimizer that is not built yet."""
    values = values_of(settings)
    for key in _CLIPPING:
        if values[key]:
            setattr(optimizer, key, values[key])
    if values["ema_momentum"]:
        optimizer.use_ema, optimizer.ema_momentum = True, values["ema_momentum"]


def evaluated_epochs(settings: dict, model, epochs: int) -> list[int]:
    """Returns the epochs to evaluate, for `fit(validation_freq=...)`, always with the last one.

    An epoch in which a callback stops the run early counts as the last one.
    """
    every = values_of(settings)["validation_freq"]

    class Epochs(list):
        def __contains__(self, epoch):
            return super().__contains__(epoch) or model.stop_training is True

    return Epochs(epoch for epoch in range(1, epochs + 1) if not epoch % every or epoch == epochs)
