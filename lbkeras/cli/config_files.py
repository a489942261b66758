"""Loads a command's config from the Python file that FILE[:VARIANT] names."""

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path

from ml_collections import ConfigDict

from lbkeras import config as config_defaults
from lbkeras.cli import paper_configs
from lbkeras.errors import UserError, suggestion
from lbkeras.runs import components, config_checks


def config_path(value: str) -> Path:
    """Returns the file of FILE[:VARIANT]: one on disk, else the paper's config of that name."""
    named = Path(value.split(":", 1)[0])
    if named.suffix == ".py" and named.is_file():
        return named
    return paper_configs.find(str(named)) or named


def config_variant(value: str) -> str:
    """Returns the variant of FILE[:VARIANT]; empty if none is named."""
    return value.partition(":")[2]


def config_module(value: str):
    """Imports the module of FILE[:VARIANT], for what a config says besides its settings."""
    path = config_path(value)
    if paper_configs.package() not in path.resolve().parents:  # installed: needs no path
        _add_root(path)
        components.add_folder(path.parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config_of(module, value: str) -> ConfigDict:
    """Returns the config of FILE[:VARIANT], whose module is `module`."""
    variant = config_variant(value)
    if variant and not inspect.signature(module.get_config).parameters:
        raise UserError(f"expected {config_path(value)} without a variant, received {variant!r}")
    return module.get_config(variant) if variant else module.get_config()


def load_config(value: str) -> ConfigDict:
    """Loads the config of FILE[:VARIANT] with every default (`lbkeras.config.complete`).

    Raises:
        UserError: there is no such file, it fails, or it does not return an experiment's config.
    """
    path = config_path(value)
    if not value:
        raise UserError("--config: expected FILE[:VARIANT], received none")
    if path.suffix != ".py" or not path.is_file():
        raise UserError(_no_file(path))
    try:
        config = config_of(config_module(value), value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, ValueError) and "expected" in str(
            error
        ):  # raised by `config.variants`
            raise UserError(f"--config={value}: {error}") from error
        message = error.msg if isinstance(error, SyntaxError) else error
        what = f"{path}{_line(error, path)}: {type(error).__name__}: {message}"
        raise UserError(
            f"--config={value}: expected a config that runs, received {what}"
        ) from error
    expected = f"a dict or ConfigDict with {', '.join(config_defaults.REQUIRED)}"
    if not isinstance(config, ConfigDict | dict):
        received = type(config).__name__
        raise UserError(f"--config={value}: expected {expected}, received a {received}")
    missing = [section for section in config_defaults.REQUIRED if section not in config]
    if missing:
        received = f"one without {', '.join(missing)}"
        raise UserError(f"--config={value}: expected {expected}, received {received}")
    try:
        config = config_defaults.complete(config)
        config_checks.check_config(config)
    except (UserError, TypeError, ValueError) as error:  # a ConfigDict refuses keys with dots
        raise UserError(f"--config={value}: {error}") from None
    return config


def _no_file(path: Path) -> str:
    """Returns the message for a name that is neither a Python file nor a paper's config."""
    names = list(paper_configs.files())
    named = "" if path.suffix == ".py" else f" or one of {', '.join(names)}"
    what = "is not a .py file" if path.exists() else "does not exist"
    nearest = suggestion(path.stem, names)
    return f"--config: expected a Python file{named}, received {str(path)!r}, which {what}{nearest}"


def _add_root(path: Path) -> None:
    """Adds the folder that holds `configs/` to the import path."""
    for parent in path.resolve().parents:
        if parent.name == "configs" and str(parent.parent) not in sys.path:
            sys.path.insert(0, str(parent.parent))


def _line(error: BaseException, path: Path) -> str:
    """Returns the config's line at which the error arose as ", line N"; empty if unknown."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path]
    return f", line {lines[-1]}" if lines else ""
