"""A command's flags: its own absl flags, and the config through ml_collections."""

import copy
import dataclasses
import re
import shlex
import textwrap

from absl import flags
from ml_collections import ConfigDict, config_flags

from lbkeras.cli import overrides
from lbkeras.cli.config_files import load_config
from lbkeras.errors import UserError, unknown_name
from lbkeras.runs import config_checks, experiment

_COLUMNS, _INDENT = 80, " " * 6  # of `--help`


class HelpShown(Exception):
    """Raised after `--help` has printed the help."""


@dataclasses.dataclass(frozen=True)
class ListedFlag:
    """A flag as shell completion shows it.

    Attributes:
        text: the first clause of its help.
        kind: what it takes: `switch` (nothing), `config` (FILE[:VARIANT]), `path` (a file or
            folder) or `value`.
        choices: its valid values; empty if they are not listed.
    """

    name: str
    text: str
    kind: str
    choices: tuple[str, ...]


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
        self._required = {}  # flag -> what is expected
        self._unless = {}  # required flag -> the switch that makes it optional
        self._choices = {}  # flag -> valid values
        self._expected = {}  # flag -> the type in words
        self._paths = set()  # flags that take a file or folder
        self._words = None  # the valid words beside the flags; None: no word is allowed
        self.given = None  # the word given beside the flags
        self.notes = []  # a line for each value of an arm that a flag replaces

    def string(self, name: str, default: str | None, text: str) -> None:
        flags.DEFINE_string(name, default, text, flag_values=self._flags)

    def path(self, name: str, text: str) -> None:
        """Defines a flag that takes a file or folder."""
        self.string(name, None, text)
        self._paths.add(name)

    def folder(self, name: str, text: str, unless: str | None = None) -> None:
        """Defines a folder's flag, which is required unless the switch `unless` is on."""
        self.path(name, f"{text} Required{f' unless --{unless} is given' if unless else ''}.")
        self._required[name] = "a folder"
        self._unless[name] = unless

    def word(self, valid) -> None:
        """Allows one word beside the flags, kept in `given`; completion offers the valid ones."""
        self._words = list(valid)

    def choice(self, name: str, default: str, values, text: str) -> None:
        text = f"{', '.join(values)}. {text}"
        flags.DEFINE_string(name, default, text, flag_values=self._flags)
        self._choices[name] = values

    def boolean(self, name: str, text: str) -> None:
        """Defines a switch that is off by default."""
        flags.DEFINE_boolean(name, False, text, flag_values=self._flags)
        self._expected[name] = "true or false"

    def integer(
        self, name: str, default: int | None, text: str, least: int, most: int | None = None
    ) -> None:
        flags.DEFINE_integer(name, default, text, least, most, flag_values=self._flags)
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        self._expected[name] = f"a whole number {bounds}"

    def config(self) -> None:
        config_flags.DEFINE_config_file(
            "config",
            None,
            "FILE[:VARIANT], a Python file with get_config(), or the name of a paper's config, "
            "which `lbkeras configs` lists. Required. --config.KEY=VALUE sets one of its values. "
            "--config.SECTION.KEY=VALUE sets a section's value in every arm, even one missing from "
            "the file, if the component takes it. --config.arms.ARM.SECTION.KEY=VALUE sets it in "
            "one arm.",
            flag_values=self._flags,
            # --flagfile is left out, as it would be opened here; `parse` refuses it.
            sys_argv=[a for a in self._arguments if not a.lstrip("-").startswith("flagfile")],
        )
        self._flags["config"].parser = self._loaded = _Loaded()
        self._required["config"] = "FILE[:VARIANT]"

    def parse(self) -> flags.FlagValues:
        """Returns the parsed flags.

        Raises:
            HelpShown: after printing the help for `--help`.
            UserError: a flag or config key is unknown, a value has the wrong type, a required flag
                is missing, or the config cannot be loaded.
        """
        if any(argument in ("--help", "-h", "-help") for argument in self._arguments[1:]):
            print(self._help())
            raise HelpShown
        self._check_names()
        config = None
        if "config" in self._required:
            self._check_config_is_named()
            config = self._loaded.config = load_config(self._value("config") or "")
            before = copy.deepcopy(config)
            for key, value in self._overrides():
                overrides.check(config, key, value)
            config.lock()
        try:
            rest = self._flags(self._arguments)
        except flags.Error as error:
            raise UserError(self._restated(str(error), config)) from None
        if len(rest) > (1 if self._words is None else 2):
            raise UserError(f"arguments: expected --FLAG=VALUE only, received {rest[-1]!r}")
        self.given = rest[1] if len(rest) > 1 else None
        if config is not None:
            keys = [key for key, _ in self._overrides()]
            self.notes = overrides.spread(config, keys)
            config_checks.check_config(config)
            if any(key.endswith("plan.epochs") for key in keys):
                self._check_boundaries(config, before)
        for name, expected in self._required.items():
            unless = self._unless.get(name)
            if not self._flags[name].value and not (unless and self._flags[unless].value):
                raise UserError(f"--{name}: expected {expected}, received none")
        for name, values in self._choices.items():
            if self._flags[name].value not in values:
                raise UserError(unknown_name(f"--{name}", self._flags[name].value, values))
        return self._flags

    def _check_config_is_named(self) -> None:
        """Refuses a config's name without its flag, and says what to type."""
        named = [each for each in self._arguments[1:] if not each.startswith("-")]
        if self._value("config") is None and named:
            raise UserError(
                f"--config: expected --config=FILE[:VARIANT], received {named[0]!r} without the "
                f"flag's name; use --config={named[0]}"
            )

    def words(self) -> list[str]:
        """Returns the valid words beside the flags."""
        return self._words or []

    def listed(self) -> list["ListedFlag"]:
        """Returns the flags in the order of their definition, for shell completion."""
        return [self._listed(name) for name in self._flags]

    def _listed(self, name: str) -> "ListedFlag":
        kind = "config" if name == "config" else "path" if name in self._paths else "value"
        if self._flags[name].boolean:
            kind = "switch"
        text = re.split(r"(?<=\w)[.;:] ", self._flags[name].help)[0].rstrip(".")
        return ListedFlag(name, text, kind, tuple(self._choices.get(name, ())))

    def _check_boundaries(self, config: ConfigDict, before: ConfigDict) -> None:
        """Refuses boundaries that no longer fit the epochs, with a command that works if any."""
        arms = experiment.arm_names(config)
        if self._arguments[0] == "train":
            arms = [arm for arm in arms if arm == (self._value("arm") or arms[0])]
        values = overrides.fitting_boundaries(config, before, arms)
        if values:
            flags = [f"--config.plan.{key}={value}" for key, value in values.items()]
            works = command_line([*self._arguments, *flags])
            try:
                for arm in arms:
                    experiment.make_plan(experiment.arm_settings(config, arm))
            except UserError as error:
                raise UserError(f"arm {arm}: {error}; this works: {works}") from None

    def _check_names(self) -> None:
        names = [f"--{name}" for name in self._flags]
        for name, _ in self._typed():
            if f"--{name}" not in names and not _is_override(name):
                raise UserError(unknown_name("flag", f"--{name}", names))

    def _typed(self) -> list[tuple[str, str | None]]:
        """Returns each `--NAME=VALUE` or `--NAME VALUE` as typed; the value is None if missing."""
        pairs = []
        for index, argument in enumerate(self._arguments[1:], start=1):
            if re.match("--?[A-Za-z_]", argument):
                name, equals, value = argument.lstrip("-").partition("=")
                following = next(iter(self._arguments[index + 1 : index + 2]), None)
                pairs.append((name, value if equals else following))
        return pairs

    def _value(self, name: str) -> str | None:
        return next((value for typed, value in reversed(self._typed()) if typed == name), None)

    def _overrides(self):
        for name, value in self._typed():
            if _is_override(name):
                yield name.removeprefix("no").removeprefix("config."), value

    def _restated(self, message: str, config) -> str:
        """Rewrites absl's message about a value as "expected ..., received ..."."""
        for name, value in self._typed():
            if message.startswith(f"flag --{name}={value}:"):
                if name in self._expected:
                    return f"--{name}: expected {self._expected[name]}, received {value!r}"
                if name.startswith("config."):
                    return f"{name}: expected {_type(config, name[7:])}, received {value!r}"
        return message.removeprefix("flag ")

    def _help(self) -> str:
        lines = [self._help_text.rstrip(), *(["", "flags:"] if list(self._flags) else [])]
        for name in self._flags:
            flag = self._flags[name]
            default = f" Default: {flag.default}." if flag.default not in (None, "") else ""
            text = textwrap.fill(
                f"{flag.help}{default}",
                width=_COLUMNS,
                initial_indent=_INDENT,
                subsequent_indent=_INDENT,
                break_on_hyphens=False,
            )
            lines += [f"  --{name}", text]
        return "\n".join(lines)


class _Loaded(flags.ArgumentParser):
    """Hands ml_collections the config that is already loaded, with its defaults."""

    config: ConfigDict

    def parse(self, argument: str) -> ConfigDict:
        return self.config

    def flag_type(self) -> str:
        return "config"


def _is_override(name: str) -> bool:
    return name.removeprefix("no").startswith("config.")


def command_line(arguments: list[str]) -> str:
    """Returns the command, quoted so that it can be typed again."""
    return shlex.join(["lbkeras", *arguments])


def _type(config: ConfigDict, key: str) -> str:
    *sections, name = key.split(".")
    for section in sections:
        config = config[section]
    kind = config.get_type(name)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(kind, re.sub(r"\W", " ", kind.__name__))
