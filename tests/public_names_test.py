"""Only `lbkeras/keras_internals` reads private names of Keras, TensorFlow and TFDS.

Checks the syntax trees of the package, the configs, the tools and the tests. A private name
(`_name`) is ours if a class or module of ours defines it and no Keras base class does.
"""

import ast
import dataclasses
import functools
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SEAM = "lbkeras/keras_internals/"
FORBIDDEN = ("keras.src", "tensorflow.python", "tensorflow_datasets.core")
PRIVATE = re.compile(r"_[A-Za-z0-9]\w*$")
OF_THE_STANDARD_LIBRARY = {"_exit", "_replace", "_asdict", "_fields"}
IMPORTS_BY_NAME = ("import_module", "__import__", "importorskip", "private_module")
ATTRIBUTE_BY_NAME = {"getattr", "hasattr", "setattr", "delattr", "private", "defining_class"}


@dataclasses.dataclass(frozen=True)
class Use:
    """A private name that is read, set or overridden.

    Attributes:
        name: `_name`.
        line: line number in its file.
        owner: the expression before the dot: "self", "model.optimizer"; "" for a definition.
        inside: the class whose body contains it, or "".
    """

    name: str
    line: int
    owner: str
    inside: str


class File:
    """The imports, definitions and uses in a source file."""

    def __init__(self, path: str, text: str):
        self.path = path
        tree = ast.parse(text)
        self.imports = list(_imports(tree))
        self.uses: list[Use] = []
        self.bases: dict[str, list[str]] = {}  # class -> its bases as written
        self.defined: dict[str, set[str]] = {"": set()}  # class, or "" for the module -> names
        self.names = {}  # local name -> where it was imported from
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                for alias in node.names:
                    bound = alias.asname or alias.name.split(".")[0]
                    self.names[bound] = module + (alias.name if alias.asname else
                                                  alias.name if module else bound)  # fmt: skip
        self._visit(tree, "")

    def _visit(self, node, inside):
        for child in ast.iter_child_nodes(node):
            where = inside
            if isinstance(child, ast.ClassDef):
                self.bases[child.name] = [ast.unparse(base) for base in child.bases]
                self.defined.setdefault(child.name, set())
                self._define(child.name, inside, child.lineno)
                where = child.name
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                self._define(child.name, inside, child.lineno)
            elif isinstance(child, ast.Attribute):
                self._use(child.attr, child.lineno, ast.unparse(child.value), inside)
                if isinstance(child.ctx, ast.Store) and ast.unparse(child.value) == "self":
                    self._define(child.attr, inside, child.lineno)
            elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                self._define(child.id, inside, child.lineno)
            elif isinstance(child, ast.Subscript):
                self._by_name(child.value, [child.slice], child.lineno, inside)
            elif isinstance(child, ast.Call):
                self._call(child, inside)
            self._visit(child, where)

    def _call(self, node, inside):
        function = ast.unparse(node.func)
        if function in ATTRIBUTE_BY_NAME or function.endswith((".setattr", ".object")):
            for argument in node.args[1:2]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    owner = ast.unparse(node.args[0])
                    self._use(argument.value, node.lineno, owner, inside)
        elif isinstance(node.func, ast.Attribute):
            self._by_name(node.func.value, node.args[:1], node.lineno, inside)
        for keyword in node.keywords:
            self._use(keyword.arg or "", node.lineno, function, inside)

    def _by_name(self, owner, keys, line, inside):
        """Finds `vars(x)["_name"]` and `vars(x).pop("_name")`."""
        if isinstance(owner, ast.Call) and ast.unparse(owner.func) == "vars" and owner.args:
            for key in keys:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    self._use(key.value, line, ast.unparse(owner.args[0]), inside)

    def _use(self, name, line, owner, inside):
        if PRIVATE.match(name) and name not in OF_THE_STANDARD_LIBRARY:
            self.uses.append(Use(name, line, owner, inside))

    def _define(self, name, inside, line):
        if PRIVATE.match(name):
            self.defined.setdefault(inside, set()).add(name)
            if inside:
                self._use(name, line, "", inside)


def _imports(tree) -> Iterator[tuple[int, str]]:
    """Yields line and name of each import and each attribute chain (`keras.src.losses`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(IMPORTS_BY_NAME):
            names = (a.value for a in node.args if isinstance(a, ast.Constant))
            yield from ((node.lineno, str(name)) for name in names)


@functools.cache
def private_names_of_keras() -> frozenset[str]:
    """Returns every `_name` in Keras' sources: attributes, functions, classes."""
    names = set()
    for folder in importlib.util.find_spec("keras").submodule_search_locations:
        for path in Path(folder).rglob("*.py"):
            if not path.name.endswith("_test.py"):
                names.update(
                    re.findall(r"(?:\.|\bdef |\bclass )(_[A-Za-z0-9]\w*)", path.read_text())
                )
    return frozenset(names)


def _private_names_above(kind: type) -> set[str]:
    """Returns the private names that a Keras class and its bases define or set."""
    names = {name for each in kind.__mro__ for name in vars(each)}
    for each in kind.__mro__:
        if each.__module__.split(".")[0] == "keras":
            names.update(
                re.findall(r"\bself\.(_[A-Za-z0-9]\w*)\b[^=\n]*=", inspect.getsource(each))
            )
    return {name for name in names if PRIVATE.match(name)}


class Sources:
    """All files together: the names that each class defines, and its Keras base classes."""

    def __init__(self, texts: dict[str, str]):
        self.files = {path: File(path, text) for path, text in texts.items()}
        self._owners: dict[str, tuple[File, str]] = {}  # class name -> where it is defined
        for file in self.files.values():
            for name in file.bases:
                self._owners.setdefault(name, (file, name))
        self._everything = {
            name for f in self.files.values() for names in f.defined.values() for name in names
        }

    def violations(self) -> list[str]:
        keras_names = private_names_of_keras()
        found = []
        for file in self.files.values():
            if file.path.startswith(SEAM):
                continue
            for line, name in file.imports:
                if any(f"{name}.".startswith(f"{module}.") for module in FORBIDDEN):
                    found.append(f"{file.path}:{line} imports {name}")
            for use in file.uses:
                if not self._is_ours(use, file, keras_names):
                    owner = f"{use.owner}." if use.owner else f"{use.inside}, which defines "
                    found.append(f"{file.path}:{use.line} {owner}{use.name}")
        return found

    def _is_ours(self, use: Use, file: File, keras_names) -> bool:
        if use.name not in keras_names:
            return use.name in self._everything
        if use.owner in ("", "self", "cls", "super()", "type(self)") and use.inside:
            own, above = self._family(file, use.inside)
            return use.name in own - above
        return any(
            use.name in names and (not kind or use.name not in self._family(file, kind)[1])
            for kind, names in file.defined.items()
        )

    def _family(self, file: File, kind: str) -> tuple[set[str], set[str]]:
        """Returns private names of a class with its bases of ours, and those of its Keras bases."""
        own, above = set(file.defined.get(kind, ())), set()
        for base in file.bases.get(kind, ()):
            target = base.split(".")[-1]
            imported_from = file.names.get(base.split(".")[0], "")
            if target in self._owners and not imported_from.startswith(("keras", "tensorflow")):
                more = self._family(*self._owners[target])
                own, above = own | more[0], above | more[1]
            elif imported_from.split(".")[0] == "keras":
                above |= _private_names_above(_resolve(base, imported_from))
        return own, above


def _resolve(base: str, imported_from: str) -> type:
    import keras

    path = ".".join([imported_from, *base.split(".")[1:]]).split(".")[1:]
    value = keras
    for part in path:
        value = getattr(value, part)
    return value


@pytest.fixture(scope="module")
def texts():
    return {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for folder in ("lbkeras", "configs", "tools", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


@pytest.mark.slow
def test_only_keras_internals_reads_private_names(texts):
    found = Sources(texts).violations()
    assert not found, "not public, move it into lbkeras/keras_internals:\n" + "\n".join(found)


PLANTED = {
    "an attribute of another object": ("def f(model):\n    return model._loss_tracker\n", 2),
    "an attribute by its name": ("def f(model):\n    return getattr(model, '_loss_tracker')\n", 2),
    "an attribute by the seam's own way": (
        "from lbkeras.keras_internals.names import private\n"
        "def f(model):\n    return private(model, '_loss_tracker')\n",
        3,
    ),
    "an entry of vars": ("def f(model):\n    vars(model).pop('_loss_tracker')\n", 2),
    "an import": ("from keras.src.trainers import trainer\n", 1),
    "an import inside a function": ("def f():\n    import tensorflow.python.eager\n", 2),
    "an import by its name": ("import importlib\nimportlib.import_module('keras.src')\n", 2),
    "an attribute of the package": ("import keras\nloss = keras.src.losses\n", 2),
    "an import of TFDS": ("from tensorflow_datasets.core import constants\n", 1),
    "a name of TensorFlow": ("def f(dataset):\n    return dataset._variant_tensor\n", 2),
    "an attribute of a Keras base": (
        "import keras\nclass C(keras.callbacks.Callback):\n    def f(self):\n"
        "        return self._model\n",
        4,
    ),
    "a method that Keras has": (
        "import keras\nclass O(keras.optimizers.Optimizer):\n"
        "    def _clip_gradients(self, grads):\n        return grads\n",
        3,
    ),
    "an attribute that Keras has": (
        "import keras\nclass C(keras.callbacks.Callback):\n    def f(self):\n"
        "        self._model = None\n",
        4,
    ),
    "a method that Keras has, under a class of ours": (
        "import keras\nclass A(keras.Model):\n    pass\nclass B(A):\n"
        "    def _symbolic_build(self):\n        pass\n",
        5,
    ),
}


@pytest.mark.parametrize("text, line", PLANTED.values(), ids=PLANTED)
def test_a_planted_name_is_found(text, line):
    assert any(f"planted.py:{line} " in each for each in Sources({"planted.py": text}).violations())
    assert not Sources({SEAM + "planted.py": text}).violations()


ALLOWED = {
    "an own attribute that Keras has elsewhere": (
        "class C:\n    def __init__(self):\n        self._model = None\n"
        "    def f(self):\n        return self._model\n"
    ),
    "an own method in a Keras class": (
        "import keras\nclass C(keras.callbacks.Callback):\n    def _size(self):\n"
        "        return self._size()\n"
    ),
    "another object of an own class": (
        "class C:\n    def __init__(self):\n        self._path = ''\n"
        "    def same(self, other):\n        return other._path\n"
    ),
}


@pytest.mark.parametrize("text", ALLOWED.values(), ids=ALLOWED)
def test_names_of_our_own_are_allowed(text):
    assert not Sources({"own.py": text}).violations()
