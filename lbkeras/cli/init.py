"""`lbkeras init`: a config for a model and data of one's own, to start from."""

import shlex

from lbkeras import files
from lbkeras.advice.config_file import check_destination
from lbkeras.cli import paper_configs
from lbkeras.cli.command_flags import CommandFlags

HELP = """lbkeras init: writes a config for your own model and data, to change and to run

examples:
  lbkeras init
  lbkeras init --write=mine.py
  lbkeras plan --config=mine.py
  lbkeras plan --config=mine.py --auto --write=recommended.py
  lbkeras replicate --config=mine.py --workdir=runs/mine

The file runs as it is, on scikit-learn's digits. Its functions make data and model; they import
Keras inside, so that `lbkeras plan` need not. A component's name is one of lbkeras, one of Keras, a
function of the file, or "module:function" of any module that is installed or beside the file (where
both have that name, the command stops and says so). An existing file is left as it is.
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
        f"{file}: written; change it, and see what it does with\n"
        f"  lbkeras plan --config={named}\n"
        f"  lbkeras train --config={named} --workdir=runs/{file.stem}"
    )
    return 0
