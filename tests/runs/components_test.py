"""Looks up the components that a config names, without Keras."""

import sys

import pytest

from lbkeras.errors import UserError
from lbkeras.runs import components


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A config's folder; its modules are removed from `sys.modules` afterwards."""
    monkeypatch.setattr(components, "_folders", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    components.add_folder(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder, **modules):
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


def test_functions_of_a_module_and_a_package_in_the_folder_and_of_an_installed_module(folder):
    write(folder, my_parts="def make(): return 1\nclass Kind:\n    def of(): return 2\n")
    (folder / "my_package").mkdir()
    write(folder / "my_package", inner="from my_parts import make\n")
    assert components.imported("model.name", "my_parts:make")() == 1
    assert components.imported("model.name", "my_parts:Kind.of")() == 2
    assert components.imported("model.name", "my_package.inner:make")() == 1
    assert components.imported("model.name", "os.path:join")("a", "b") == "a/b"
    assert components.file_of("my_parts:make") == folder / "my_parts.py"
    assert components.file_of("os.path:join") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_parts:f", "expected module:function with a module that is in FOLDER or installed, "
         "received 'no_parts:f' (did you mean 'my_parts'?)"),
        ("my_parts.more:f", "expected module:function with a module that is in FOLDER or "
         "installed, received 'my_parts.more:f' (did you mean 'my_parts'?)"),
        ("my_parts:mkae", "expected one of make, received 'mkae' (did you mean 'make'?) of the "
         "module my_parts"),
        ("my_parts:NUMBER", "expected a function or class, received 'my_parts:NUMBER', a int"),
        ("my_import:f", "expected a module that can be imported, received 'my_import:f': "
         "FOLDER/my_import.py, line 2: ModuleNotFoundError: No module named 'not_there'"),
        ("my_zero:f", "expected a module that can be imported, received 'my_zero:f': "
         "FOLDER/my_zero.py, line 3: ZeroDivisionError: division by zero"),
        ("my_exit:f", "expected a module that can be imported, received 'my_exit:f': "
         "FOLDER/my_exit.py, line 1: SystemExit: 3"),
        ("my_syntax:f", "expected a module that can be imported, received 'my_syntax:f': "
         "FOLDER/my_syntax.py, line 1: SyntaxError: invalid syntax"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported(name, message, folder):
    write(
        folder,
        my_parts="NUMBER = 3\ndef make(): return 1\n",
        my_import="\nimport not_there\n",
        my_zero="def half():\n    '''x'''\n    return 1 / 0\nhalf()\n",
        my_exit="raise SystemExit(3)\n",
        my_syntax="def f(:\n",
    )
    with pytest.raises(UserError) as error:
        components.imported("model.name", name)
    assert str(error.value) == f"model.name: {message.replace('FOLDER', str(folder))}"


def test_an_installed_module_wins_and_a_file_of_its_name_is_refused(folder):
    write(folder, colorsys="def make(): return 1\n")
    with pytest.raises(UserError) as error:
        components.imported("model.name", "colorsys:make")
    assert "expected a module whose name is unique, received 'colorsys:make': " in str(error.value)
    assert str(error.value).endswith(f"colorsys.py hides {folder / 'colorsys.py'}; rename the file")


@pytest.mark.parametrize(
    ("section", "name", "near"),
    [
        ("model", "smal_cnn", "small_cnn"),
        ("optimizer", "AdmaW", "AdamW"),
        ("loss", "MeanSquareError", "MeanSquaredError"),
        ("metrics", "SparseTopKAccuracy", "SparseTopKCategoricalAccuracy"),
        ("callbacks", "EarlyStoping", "EarlyStopping"),
        ("loss", "Loss", None),
        ("metrics", "MeanMetricWrapper", None),
        ("optimizer", "Optimizer", None),
        ("optimizer", "get", None),
        ("callbacks", "Callback", None),
        ("callbacks", "BatchSizeScheduler", None),
    ],
)
def test_an_unknown_name_names_the_nearest(section, name, near):
    with pytest.raises(UserError, match=f"^x: expected one of .*, received '{name}'") as error:
        components.check_name("x", section, name)
    assert near is None or str(error.value).endswith(f"(did you mean {near!r}?)")


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("loss", "MeanSquaredError"), ("loss", "mean_squared_error"), ("loss", "mse"),
        ("metrics", "accuracy"), ("metrics", "AUC"), ("metrics", "auc"), ("metrics", "mae"),
        ("optimizer", "LARS"), ("model", "resnet50"), ("callbacks", "AutoWU"),
        ("model", "mine:make"), ("loss", "a.b:Kind.of"), ("model", "my-file:make"),
    ],
)  # fmt: skip
def test_known_names(section, name):
    components.check_name("x", section, name)


@pytest.mark.parametrize("name", [":make", "mine:", "mine:1a", "a..b:make", "mine:make model"])
def test_names_of_the_users_own_have_two_parts(name):
    with pytest.raises(UserError, match="^x: expected module:function, received"):
        components.check_name("x", "model", name)


def test_the_arguments_of_components_except_those_that_a_run_sets():
    taken = components.arguments_taken
    assert {"nesterov", "clipnorm", "weight_decay"} < set(taken("optimizer", "SGD"))
    assert {"trust_coefficient", "clipnorm", "use_ema"} < set(taken("optimizer", "LARS"))
    assert not {"learning_rate", "momentum"} & set(taken("optimizer", "LARS"))
    assert {"num_nodes", "topology"} < set(taken("optimizer", "DecentLaM"))
    assert {"width", "ghost_batch_size"} < set(taken("model", "small_cnn"))
    assert "input_shape" not in taken("model", "small_cnn")
    assert "label_smoothing" in taken("loss", "BinaryCrossentropy")
    assert "num_thresholds" in taken("metrics", "auc")
    assert "patience" in taken("callbacks", "EarlyStopping")
    assert taken("model", "mine:make") == ()
