"""`lbkeras COMMAND`: runs the command, and turns errors into one line and an exit status."""

import importlib
import os
import shlex
import sys

import lbkeras
from lbkeras import files
from lbkeras.cli.memory import guarded
from lbkeras.cli.signals import Terminated, signals_as_exceptions
from lbkeras.errors import UserError, one_line, unknown_name

COMMANDS = {
    "plan": "show what a config would do: batch sizes, learning rates, updates",
    "train": "train one arm of a config in a run folder, or resume its run",
    "replicate": "train every arm of a config with several seeds, then report",
    "report": "render a replication's report again from its run records",
    "configs": "list the papers' configs with their costs and results",
    "init": "write a config for your own model and data, to start from",
    "doctor": "show versions, devices, data sets and what is missing",
    "completion": "print the script for tab completion in bash or zsh",
}

USAGE = """lbkeras: large-batch training for Keras

usage: lbkeras COMMAND [--FLAG=VALUE ...]
       lbkeras --version

{commands}

Start with
  lbkeras plan --config=smith2018:digits
  lbkeras replicate --config=smith2018:digits --workdir=runs/smith2018_digits
or, with your own model and data, with
  lbkeras init
`lbkeras COMMAND --help` shows a command's flags, with examples.
"""


def run() -> None:
    """The console script: runs the command of `sys.argv` and exits with its status."""
    sys.exit(guarded(main, sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Runs one command.

    Args:
        arguments: the command's name and its flags.

    Returns:
        The exit status: 0, 1 if `doctor` finds something missing or broken, 2 for an error that the
        user can fix, 128 + n after signal n.
    """
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(_usage(), end="")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"lbkeras {lbkeras.__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        return _fail(unknown_name("command", name, COMMANDS))
    try:
        command = importlib.import_module(f"lbkeras.cli.{name}")
        from lbkeras.cli.command_flags import HelpShown
    except ImportError as error:
        return _fail(f"{error.name}: expected a package that can be imported, received: {error}")
    try:
        with signals_as_exceptions():
            return command.main(arguments)
    except HelpShown:
        return 0
    except UserError as error:
        return _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # no space left, no permission, ...
        return _fail(files.in_words(error))
    except Terminated:
        return _interrupted("terminated", arguments, 143)
    except KeyboardInterrupt:
        return _interrupted("interrupted", arguments, 130)
    except Exception as error:
        # Both are recognized by name, as the modules that define them import TensorFlow.
        if type(error).__name__ == "Diverged":
            return _fail(str(error))
        if type(error).__name__ == "Interrupted":
            return _interrupted(f"{error}, checkpoint saved", arguments, 128 + error.signal_number)
        raise


def _usage() -> str:
    width = max(map(len, COMMANDS))
    return USAGE.format(
        commands="\n".join(f"  {name:{width}}  {text}" for name, text in COMMANDS.items())
    )


def _fail(message: str) -> int:
    print(f"lbkeras: error: {one_line(message)}", file=sys.stderr)
    return 2


def _interrupted(what: str, arguments: list[str], status: int) -> int:
    if sys.stdout.isatty():
        print()  # ends the line of the progress bar
    if _resumes(arguments):
        command = shlex.join(["lbkeras", *arguments])
        what += f"; to resume, run the same command again: {command}"
    print(f"lbkeras: {what}", file=sys.stderr)
    return status


def _resumes(arguments: list[str]) -> bool:
    """Whether the command, run again, continues where it stopped."""
    dry = {f"dry_run{value}" for value in ("", "=true", "=t", "=1")}  # as absl reads a flag
    tries = any(each.lstrip("-").lower() in dry for each in arguments)
    return arguments[0] == "replicate" or (arguments[0] == "train" and not tries)
