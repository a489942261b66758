"""Looks up the components that a config names; imports Keras only to return one (`find`).

A component belongs to lbkeras or Keras, or is the user's own: `module:function`, from an installed
module or one in the config's folder.
"""

import contextlib
import importlib
import operator
import sys
import traceback
from pathlib import Path

from lbkeras.config import is_own
from lbkeras.errors import UserError, one_line, suggestion, unknown_name
from lbkeras.fingerprint import digest_of_code
from lbkeras.keras_internals.names import (
    argument_names,
    arguments_of_every_optimizer,
    class_named,
    public_names,
)
from lbkeras.metrics import ACCURACY

# The modules in which a section's names are looked up.
NAMED = {
    "model": ("lbkeras.models", "keras.applications"),
    "optimizer": ("lbkeras.optimizers", "keras.optimizers"),
    "loss": ("lbkeras.losses", "keras.losses"),
    "metrics": ("keras.metrics",),
    "callbacks": ("lbkeras.callbacks", "keras.callbacks"),
}
# What those modules hold that a config cannot name.
_OTHERS = (
    *("Optimizer", "LossScaleOptimizer", "MultiOptimizer", "Loss", "Metric", "MeanMetricWrapper"),
    *("Callback", "CallbackList", "Diverged", "Interrupted", "Mean", "Sum"),
)
# The callbacks that every run has, and Keras callbacks that do the same.
OF_EVERY_RUN = (
    *("AverageStatistics", "BatchSizeScheduler", "Checkpoint", "ConsensusDistance"),
    *("HistoryWriter", "MicroBatches", "ProgressBar", "StopOnNaN", "StopOnSignal"),
    *("TensorBoardScalars", "TrainingStatistics"),
    *("BackupAndRestore", "History", "ProgbarLogger"),
)
_PLAIN = bool | int | float | str | tuple | None
_folders: list[Path] = []  # of the configs that this process has loaded, the latest last


def add_folder(folder: Path) -> None:
    """Makes the modules in a config's folder importable; installed modules come first."""
    folder = folder.resolve()
    if folder in _folders:
        _folders.remove(folder)
    _folders.append(folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def file_of(name: str) -> Path | None:
    """Returns a component's file in the config's folder; None if its module is not there."""
    return _file_in_folder(name.partition(":")[0])


def imported(key: str, name: str):
    """Imports the user's own component, a function or class.

    Args:
        key: where the config names it, for messages.
        name: `module:function`; the function may be an attribute of a class.

    Raises:
        UserError: there is no such module or attribute, it cannot be called, the module cannot be
            imported, or an installed module hides the one in the config's folder.
    """
    module_name, _, attribute = name.partition(":")
    module = _module(key, module_name, name)
    try:
        found = operator.attrgetter(attribute)(module)
    except AttributeError:
        valid = [n for n, value in vars(module).items() if n[0] != "_" and callable(value)]
        message = unknown_name(key, attribute, valid)
        raise UserError(f"{message} of the module {module_name}") from None
    if not callable(found):
        raise UserError(f"{key}: expected a function or class, received {name!r}, a "
                        f"{type(found).__name__}")  # fmt: skip
    return found


def code_of(settings: dict) -> dict[str, str]:
    """Imports the user's own components in an arm's sections and returns a hash of each one's code.

    Those that cannot be imported are left out; the code that builds them raises the error.
    """
    codes = {}
    for name in _own_names(settings):
        with contextlib.suppress(UserError):
            codes[name] = digest_of_code(imported("config", name))
    return codes


def _own_names(settings: dict):
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _own_names(value)
        elif key in ("name", "augmentation") and is_own(value):
            yield value


def find(key: str, section: str, name: str):
    """Returns the component of a name in a section: lbkeras', Keras' or the user's own.

    Imports Keras.

    Raises:
        UserError: nothing has that name, or as `imported`.
    """
    if is_own(name):
        return imported(key, name)
    valid = []
    for module in map(importlib.import_module, NAMED[section]):
        names = getattr(module, "__all__", None) or [
            n for n in dir(module) if n[0].isalpha() and callable(getattr(module, n))
        ]
        if name in names and callable(found := getattr(module, name)):
            return found
        valid += names
    raise UserError(unknown_name(key, name, valid))


def class_of(section: str, name: str) -> str | None:
    """Returns the class name of a loss or metric, which may be named in Keras' snake case."""
    found = (class_named(module, name) for module in NAMED[section])
    return next(filter(None, found), None)


def call(section: str, name: str, function, arguments: dict):
    """Calls a component with its arguments.

    Raises:
        UserError: the component refuses an argument, or the user's own component fails.
    """
    given = ", ".join(f"{k}={v!r}" for k, v in arguments.items() if isinstance(v, _PLAIN))
    try:
        return function(**arguments)
    except Exception as error:
        if isinstance(error, UserError) and error.key in arguments:
            raise error.of(section) from None
        if isinstance(error, UserError) and is_own(name):
            raise
        if is_own(name) and type(error).__name__ != "ResourceExhaustedError":
            raise UserError(
                f"{section}: expected a function that runs, received {name!r} ({given}): "
                f"{said_of(error)}"
            ) from error
        if not isinstance(error, TypeError | ValueError):
            raise
        raise UserError(
            f"{section}: expected arguments that {function.__name__} takes, received {given} "
            f"({error})"
        ) from error


def names(section: str) -> list[str]:
    """Returns the lbkeras and Keras names for a section, read from their files; [] if unknown."""
    found = []
    for module in NAMED[section]:
        listed = [name for name in public_names(module) if name not in (*_OTHERS, *OF_EVERY_RUN)]
        if not listed:
            return []
        if module.startswith("keras."):
            listed = [name for name in listed if name[0].isupper()]
        found += listed
    return [*found, ACCURACY] if section == "metrics" else found


def check_name(key: str, section: str, name) -> None:
    """Refuses a name that is neither in lbkeras or Keras nor of the form `module:function`.

    Raises:
        UserError: it is none of these.
    """
    if is_own(name):
        module, _, attribute = name.partition(":")
        if all(module.split(".")) and all(part.isidentifier() for part in attribute.split(".")):
            return
        raise UserError(f"{key}: expected module:function, received {name!r}")
    if not isinstance(name, str):
        raise UserError(f"{key}: expected a name, received {name!r}")
    valid = names(section)
    if section in ("loss", "metrics") and class_of(section, name) in valid:
        return
    if valid and name not in valid:
        raise UserError(f"{unknown_name(key, name, [*valid, 'module:function'])}")


def arguments_taken(section: str, name) -> tuple[str, ...]:
    """Returns the arguments that a component of lbkeras or Keras takes; () if unknown.

    An optimizer's learning rate, momentum and mixing matrix and a model's input shape are left out,
    as the run sets them.
    """
    if not isinstance(name, str) or is_own(name):
        return ()
    for module in NAMED[section]:
        if section in ("loss", "metrics"):
            name = class_of(section, name) or name
        taken = argument_names(module, name)
        if not taken:
            continue
        if section == "optimizer":
            taken = (*taken, *arguments_of_every_optimizer())
            if "mixing" in taken:
                taken = (*taken, "num_nodes", "topology")
            given = ("learning_rate", "momentum", "mixing")
        else:
            given = ("input_shape",) if section == "model" else ()
        if section == "model":
            taken = (*taken, "ghost_batch_size")
        return tuple(dict.fromkeys(each for each in taken if each not in given))
    return ()


def _module(key: str, module_name: str, name: str):
    file = _file_in_folder(module_name)
    try:
        module = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None
        if missing and f"{module_name}.".startswith(f"{error.name}."):
            places = f"in {_folders[-1]} or installed" if _folders else "installed"
            near = suggestion(error.name, _modules_in_folder())
            raise UserError(
                f"{key}: expected module:function with a module that is {places}, received "
                f"{name!r}{near}"
            ) from None
        raise UserError(
            f"{key}: expected a module that can be imported, received {name!r}: {said_of(error)}"
        ) from error
    hiding = getattr(module, "__file__", None)
    if file is not None and not (hiding and _is_in(Path(hiding), _folders[-1:])):
        hiding = hiding or "one of Python itself"
        raise UserError(
            f"{key}: expected a module whose name is unique, received {name!r}: {hiding} hides "
            f"{file}; rename the file"
        )
    return module


def said_of(error: BaseException) -> str:
    """Describes an error of the user's own code in one line: file, line, type, first line."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    what = f"{type(error).__name__}: {one_line((message.splitlines() or [''])[0])}"
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{error.filename}, line {error.lineno}: {what}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_in(Path(frame.filename), _folders)]
    place = own or [frame for frame in frames if not frame.filename.startswith("<")]
    return f"{place[-1].filename}, line {place[-1].lineno}: {what}" if place else what


def _file_in_folder(module_name: str) -> Path | None:
    """Returns the file of a module's first part in the config's folder, or None."""
    if not _folders:
        return None
    first = _folders[-1] / module_name.partition(".")[0]
    return next(
        (file for file in (first.with_suffix(".py"), first / "__init__.py") if file.is_file()), None
    )


def _modules_in_folder() -> list[str]:
    return [path.stem for path in _folders[-1].glob("*.py")] if _folders else []


def _is_in(file: Path, folders: list[Path]) -> bool:
    return any(file.resolve().is_relative_to(folder) for folder in folders)
