"""Imports inside lbkeras go one way, as BUILD.md says."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lbkeras"
LEAVES = {"errors", "files", "keras_internals"}
MAY_IMPORT = {
    "schedules": set(),
    "planning": {"schedules"},
    "analysis": {"schedules", "planning"},
    "data": set(),
    "layers": set(),
    "models": {"layers"},
    "optimizers": {"schedules"},
    "callbacks": {"analysis", "planning", "schedules", "replication", "trainers", "distribution"},
    "distribution": set(),
    "trainers": set(),
    "replication": set(),
    "keras_internals": set(),
}


def imported(path):
    """The parts of lbkeras that a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lbkeras":
            parts = node.module.split(".")
            yield from parts[1:2] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (name[1] for name in names if name[0] == "lbkeras" and len(name) > 1)


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_a_folder_imports_only_what_it_may(folder):
    files = sorted((PACKAGE / folder).glob("*.py"))
    assert files
    for path in files:
        unexpected = set(imported(path)) - MAY_IMPORT[folder] - LEAVES - {folder}
        assert not unexpected, f"{path.relative_to(PACKAGE)} imports {unexpected}"


def test_every_folder_is_listed():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == {*MAY_IMPORT, "cli"}


@pytest.mark.parametrize("folder", ["analysis", "replication", "planning"])
def test_no_tensorflow_in_pure_folders(folder):
    for path in sorted((PACKAGE / folder).glob("*.py")):
        text = path.read_text()
        assert "import tensorflow" not in text and "import keras" not in text, path
