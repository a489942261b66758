"""`lbkeras init`: writes a config for your own model and data."""

import shlex

from lbkeras import files
from lbkeras.advice.config_file import check_destination
from lbkeras.cli import paper_configs
from lbkeras.cli.command_flags import CommandFlags

HELP = """lbkeras init: writes a config for your own model and data, to run and to edit

examples:
  lbkeras init
  lbkeras init --write=mine.py
  lbkeras plan --config=mine.py
  lbkeras plan --config=mine.py --auto --write=recommended.py
  lbkeras replicate --config=mine.py --workdir=runs/mine

The file runs as it is, on scikit-learn's digits. Its functions make the data
and the model. They import Keras inside, so that `lbkeras plan` need not.
A component's name is a name in lbkeras or Keras, a function of the file, or
"module:function" with a module that is installed or in the file's folder; if
both have a module of that name, the command stops with an error. An existing
file is never overwritten.
"""


def define_flags(command: CommandFlags) -> None:
    command.string("write", "own_model.py", "New .py file.")


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    define_flags(command)
    flags = command.parse()
    file = check_destination(flags.write)
    named = shlex.quote(str(file))
    text = (paper_configs.folder().parent / "own_model.py").read_text(encoding="utf-8")
    text = text.replace("own_model.py", named).replace("runs/own_model", f"runs/{file.stem}")
    files.write_atomically(file, text.encode())
    print(
        f"{file}: written; edit it, and see what it does with\n"
        f"  lbkeras plan --config={named}\n"
        f"  lbkeras train --config={named} --workdir=runs/{file.stem}"
    )
    return 0
