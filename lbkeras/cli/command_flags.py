"""The flags of a command: absl flags of its own, the config through ml_collections."""

import contextlib
import importlib.util
import io
import shlex
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from lbkeras.errors import UserError


class HelpShown(Exception):
    """`--help` was answered."""


class CommandFlags:
    """Defines and parses the flags of one command.

    Args:
        help_text: what the command does, with examples; `--help` prints it above the flags.
        arguments: the command's name and its flags, as typed.
    """

    def __init__(self, help_text: str, arguments: list[str]):
        self._help_text = help_text
        self._arguments = arguments
        self._flags = flags.FlagValues()

    def string(self, name: str, default: str | None, text: str, required: bool = False) -> None:
        flags.DEFINE_string(name, default, text, flag_values=self._flags)
        if required:
            flags.mark_flag_as_required(name, flag_values=self._flags)

    def choice(self, name: str, default: str, values, text: str) -> None:
        flags.DEFINE_enum(name, default, values, text, flag_values=self._flags)

    def integer(self, name: str, default: int | None, text: str, least: int | None = None) -> None:
        flags.DEFINE_integer(name, default, text, lower_bound=least, flag_values=self._flags)

    def config(self) -> None:
        config_flags.DEFINE_config_file(
            "config",
            None,
            "FILE[:VARIANT], a Python file with get_config(variant); --config.KEY=VALUE overrides "
            "a value, --config.SECTION.KEY=VALUE one in a section.",
            flag_values=self._flags,
            sys_argv=self._arguments,
        )

    def parse(self) -> flags.FlagValues:
        """The parsed flags.

        Raises:
            HelpShown: after printing the help for `--help`.
            UserError: a flag or config key is unknown, a value has the wrong type, or a required
                flag is missing.
        """
        if any(argument in ("--help", "-h", "-help") for argument in self._arguments[1:]):
            print(self._help())
            raise HelpShown
        configured = "config" in self._flags
        if configured:
            self._prepare_config_import()
        try:
            rest = self._flags(self._arguments)
        except UserError:
            raise
        except flags.Error as error:
            raise UserError(_flag_message(error)) from None
        except (AttributeError, KeyError, TypeError, ValueError, OSError, ImportError) as error:
            raise UserError(f"--config: {_config_message(error)}") from None
        except SyntaxError as error:
            raise UserError(
                f"--config: {error.filename}, line {error.lineno}: {error.msg}"
            ) from None
        if len(rest) > 1:
            raise UserError(f"arguments: expected --FLAG=VALUE only, received {rest[1]!r}")
        if configured and self._flags.config is None:
            raise UserError("--config: expected FILE[:VARIANT], received none")
        return self._flags

    def _prepare_config_import(self) -> None:
        """Finds the config file, and lets it import `configs.common` from its own tree."""
        for index, argument in enumerate(self._arguments):
            name, _, value = argument.lstrip("-").partition("=")
            if name == "config":
                value = value or next(iter(self._arguments[index + 1 : index + 2]), "")
                path = config_path(value)
                if not path.is_file():
                    raise UserError(f"--config: expected a Python file, received {str(path)!r}, "
                                    "which does not exist")  # fmt: skip
                _add_root(path)

    def _help(self) -> str:
        lines = [self._help_text.rstrip(), "", "flags:"]
        for name in self._flags:
            flag = self._flags[name]
            default = f" (default: {flag.default})" if flag.default not in (None, "") else ""
            lines += [f"  --{name}", f"      {flag.help}{default}"]
        return "\n".join(lines)


def config_path(value: str) -> Path:
    """The file of a FILE[:VARIANT]."""
    return Path(value.split(":", 1)[0])


def config_variant(value: str) -> str:
    """The variant of a FILE[:VARIANT]; empty if none is named."""
    return value.partition(":")[2]


def config_module(value: str):
    """The Python module of a FILE[:VARIANT], for what a config says besides its settings."""
    path = config_path(value)
    _add_root(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command_line(arguments: list[str]) -> str:
    """The command as it can be typed again."""
    return shlex.join(["lbkeras", *arguments])


def _add_root(path: Path) -> None:
    """Puts the folder that holds `configs/` on the import path."""
    for parent in path.resolve().parents:
        if parent.name == "configs" and str(parent.parent) not in sys.path:
            sys.path.insert(0, str(parent.parent))


def _flag_message(error: Exception) -> str:
    return str(error).removeprefix("flag ")


def _config_message(error: Exception) -> str:
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error) or type(error).__name__


@contextlib.contextmanager
def quiet():
    """Swallows what libraries print on standard error in this block, Python's part of it."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
