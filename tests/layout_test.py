"""Each module of lbkeras has the kind and the imports that tools/modules.toml states."""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lbkeras"
MODULES = tomllib.loads((ROOT / "tools/modules.toml").read_text())
KINDS = ("pure", "keras", "jax", "tensorflow")
OF_EVERYTHING = {"checks", "errors", "files", "fingerprint", "keras_internals", "lazy"}
OF_A_KIND = {
    "keras": "keras",
    "jax": "jax",
    "tensorflow": "tensorflow",
    "tensorflow_datasets": "tensorflow",
}
NOT_LOADED = {"TYPE_CHECKING", "modules"}  # only for type checkers; only if in `sys.modules`
LIBRARIES = {
    *(
        "PIL",
        "absl",
        "array_record",
        "google",
        "google_crc32c",
        "matplotlib",
        "ml_collections",
        "numpy",
        "scipy",
        "sklearn",
        "tensorboard",
    ),
    "threadpoolctl",
}


def listed() -> dict[str, str]:
    """Returns the kind of each module, such as "data.order"."""
    kinds = {name: module["kind"] for name, module in MODULES["files"].items()}
    for folder, modules in MODULES["folders"].items():
        for kind in KINDS:
            for name in modules.get(kind, ()):
                assert f"{folder}.{name}" not in kinds, f"{folder}.{name} is listed twice"
                kinds[f"{folder}.{name}"] = kind
    packages = (path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py"))
    return kinds | {".".join(path.parts) or "__init__": "pure" for path in packages}


KIND = listed()


def sources() -> dict[str, Path]:
    """Returns the file of each module, such as "data.order"."""
    files = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        *folders, name = path.relative_to(PACKAGE).with_suffix("").parts
        files[".".join(folders if folders and name == "__init__" else [*folders, name])] = path
    return files


FILES = sources()


@functools.cache
def imported(module: str) -> tuple[set[str], set[str]]:
    """Returns what a module imports at its top and inside its functions, by full name."""
    return imports_of(FILES[module].read_text())


def imports_of(text: str) -> tuple[set[str], set[str]]:
    top, inside = set(), set()

    def visit(node, in_function):
        for child in ast.iter_child_nodes(node):
            names = inside if in_function else top
            if isinstance(child, ast.If) and NOT_LOADED & {
                *re.findall(r"\w+", ast.unparse(child.test))
            }:
                continue
            if isinstance(child, ast.Import):
                names.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                names.update(whole_name(child.module, alias.name) for alias in child.names)
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            visit(child, in_function or function)

    visit(ast.parse(text), False)
    return top, inside


def whole_name(module: str, name: str) -> str:
    """Returns `module.name` if that is a module of lbkeras, otherwise `module`."""
    below = f"{module}.{name}".removeprefix("lbkeras.")
    return f"lbkeras.{below}" if module.split(".")[0] == "lbkeras" and below in FILES else module


def needs(name: str) -> str:
    """Returns the kind of an imported name."""
    first = name.split(".")[0]
    if first == "lbkeras":
        return KIND[name.removeprefix("lbkeras.") if name != "lbkeras" else "__init__"]
    return OF_A_KIND.get(first, "pure")


def heavier(names: set[str], kind: str) -> set[str]:
    return {name for name in names if KINDS.index(needs(name)) > KINDS.index(kind)}


def test_every_module_is_listed():
    assert set(KIND) == set(FILES)


@pytest.mark.parametrize("module", FILES)
def test_a_module_is_of_its_kind(module):
    top, inside = imported(module)
    assert not heavier(top, KIND[module]), f"not {KIND[module]}"
    on_a_list = module in MODULES["loads_when_called"]
    assert bool(heavier(inside, KIND[module])) == on_a_list
    others = {name.split(".")[0] for name in top | inside} - set(sys.stdlib_module_names)
    assert others <= LIBRARIES | set(OF_A_KIND) | {"lbkeras"}


def part_of(module: str) -> str:
    """Returns a module's folder, such as "methods.auto_wu", or the module itself if it has none."""
    return module.rpartition(".")[0] or module


def ours(module: str) -> set[str]:
    """Returns the modules and packages of lbkeras that a module imports."""
    names = set.union(*imported(module))
    return {name.removeprefix("lbkeras.") for name in names if name.startswith("lbkeras.")}


MODULES_OF_OURS = [module for module in FILES if FILES[module].name != "__init__.py"]


@pytest.mark.parametrize("part", [*MODULES["folders"], *MODULES["files"]])
def test_a_part_imports_what_it_may(part):
    entry = MODULES["folders"].get(part) or MODULES["files"][part]
    imports = set.union(*(ours(module) for module in MODULES_OF_OURS if part_of(module) == part))
    assert {part_of(each) for each in imports} - {part, *OF_EVERYTHING} == set(entry["imports"])


@pytest.mark.parametrize("module", MODULES_OF_OURS)
def test_no_module_imports_through_a_package(module):
    """Packages re-export names for users; modules import a name from where it is defined."""
    assert ours(module) <= set(MODULES_OF_OURS)


def cycle(imports: dict[str, set[str]]) -> list[str]:
    """Returns a cycle of names, each of which imports the next; [] if there is none."""

    def search(path, done):
        for each in imports.get(path[-1], ()):
            if each in path:
                return path[path.index(each) :]
            if each not in done and (found := search([*path, each], done)):
                return found
        done.add(path[-1])
        return []

    done = set()
    return next((found for name in imports if (found := search([name], done))), [])


def test_no_two_modules_and_no_two_folders_import_each_other():
    modules = {module: ours(module) - {module} for module in MODULES_OF_OURS}
    folders = {}
    for module, imports in modules.items():
        others = {part_of(each) for each in imports} - {part_of(module)}
        folders.setdefault(part_of(module), set()).update(others)
    assert not cycle(modules) and not cycle(folders)
    planted = {"a": {"b", "c"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}
    assert sorted(cycle(planted)) == ["b", "c", "d"]


def test_a_planted_import_is_found():
    top, inside = imports_of(
        "import tensorflow as tf\nfrom lbkeras.data import pipeline\n"
        "def f():\n    from lbkeras.data.order import epoch_order\n    import keras\n"
    )
    assert heavier(top, "pure") == {"tensorflow", "lbkeras.data.pipeline"}
    assert heavier(top, "keras") == {"tensorflow"}
    assert heavier(inside, "pure") == {"keras"} and not heavier(inside, "keras")


PROGRAM = """
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
    loaded = [other for other in {forbidden!r} if other in sys.modules]
    assert not loaded, f"{{name}} loads {{loaded}}"
"""


@pytest.mark.parametrize("kind", ["pure", "keras"])
def test_nothing_heavier_is_loaded(kind, monkeypatch):
    """Imports the modules, except those with TensorBoard, which loads TensorFlow if installed."""
    of_the_kind = [
        module
        for module in FILES
        if KIND[module] == kind and not any("tensorboard" in n for n in imported(module)[0])
    ]
    names = [f"lbkeras.{module}".removesuffix(".__init__") for module in of_the_kind]
    names.remove("lbkeras.__main__") if kind == "pure" else None
    assert len(names) > 30
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    forbidden = ["tensorflow", "keras"] if kind == "pure" else ["tensorflow"]
    program = PROGRAM.format(names=names, forbidden=forbidden)
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-500:]


def test_the_table_in_the_build_guide_is_that_of_the_file():
    tool = [sys.executable, ROOT / "tools/module_table.py", "--check"]
    process = subprocess.run(tool, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
