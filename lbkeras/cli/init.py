"""`lbkeras init`: a config for a model and data of one's own, to start from."""

import shlex

from lbkeras import files
from lbkeras.advice.config_file import check_destination
from lbkeras.cli.command_flags import CommandFlags, HelpShown

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

# What configs/own_model.py is, under its name.
CONFIG = '''"""Your own model and data: a config to copy and change.

Try it with

    lbkeras plan --config={file} --auto
    lbkeras replicate --config={file} --workdir=runs/{stem}
"""


def load_data():  # to train and to test on: arrays, dicts of them, tf.data.Datasets or Pipelines
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = x / 16
    return (x[:1437], y[:1437]), (x[1437:], y[1437:])


def make_model(input_shape, width):  # not compiled; imports inside, as `plan` needs no Keras
    import keras

    hidden = keras.layers.Dense(width, activation="relu")
    return keras.Sequential([keras.Input(input_shape), hidden, keras.layers.Dense(10)])


def get_config():
    return dict(
        data=dict(name=load_data, num_examples=1437),
        model=dict(name=make_model, width=64),
        # loss=dict(name="MeanSquaredError"), metrics=["MeanAbsoluteError"],  # Keras' or your own
        optimizer=dict(name="SGD", nesterov=True),
        plan=dict(name="cosine_plan", epochs=20, batch_size=16, learning_rate=0.01, momentum=0.9),
        arms=dict(own={{}}, large=dict(plan=dict(batch_size=128, learning_rate=0.08))),
    )
'''


def define_flags(command: CommandFlags) -> None:
    command.string("write", "own_model.py", "New .py file.")


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    define_flags(command)
    try:
        flags = command.parse()
    except HelpShown:
        return 0
    file = check_destination(flags.write)
    named = shlex.quote(str(file))
    files.write_atomically(file, CONFIG.format(file=named, stem=file.stem).encode())
    print(
        f"{file}: written; change it, and see what it does with\n"
        f"  lbkeras plan --config={named}\n"
        f"  lbkeras train --config={named} --workdir=runs/{file.stem}"
    )
    return 0
