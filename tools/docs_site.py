"""Hooks for mkdocs.yml: pages from outside of docs/, and the public names.

The hooks of MkDocs turn README.md and the other files next to it into pages without copies, and
give each public package a page under api/ that lists the names of its stub. The extension of
Griffe, which reads the sources, finds a function under its public name even if a module has the
same name, and shows examples in docstrings as code.
"""

import ast
import functools
import posixpath
import re
from pathlib import Path

import griffe
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lbkeras"
OUTSIDE = ("README.md", "RESULTS.md", "BUILD.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
PICTURE = re.compile(r"!\[([^\]]*)\]\((?!\w+:)([^)\s]+)\)")
# A public name as code, such as `callbacks.AutoWU` or `lbkeras.advise`, but not in a link's text.
NAME = re.compile(r"(?<!\[)`(?:lbkeras\.(\w+)|(?:lbkeras\.)?(\w+\.\w+))(?:\([^`]*\))?`(?!\])")
EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


def public_names(package: str) -> dict[str, str]:
    """Returns the names of a package's stub and where each is defined; "" is lbkeras itself."""
    stub = ast.parse((PACKAGE / package / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"{node.module}.{alias.name}" for node in imports for alias in node.names}


def api_pages() -> dict[str, str]:
    """Returns the pages of the API reference: path in the site -> text."""
    packages = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.pyi"))
    own = [name for name in public_names("") if name not in packages]
    pages = {"api/lbkeras.md": _api_page("lbkeras", own)}
    for package in packages:
        names = public_names(package)
        pages[f"api/{package}.md"] = _api_page(f"lbkeras.{package}", list(names))
    return pages


def _api_page(package: str, names: list[str]) -> str:
    blocks = [
        f"---\ntitle: {package}\n---",
        f"::: {package}\n    options:\n      heading_level: 1\n      members: []",
    ]
    blocks += [f"::: {package}.{name}" for name in names]
    return "\n\n".join(blocks) + "\n"


def example_pages() -> dict[str, str]:
    """Returns the pages of the examples: each script's docstring, and the script."""
    pages = {}
    for path in sorted((ROOT / "examples").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        title, _, rest = ast.get_docstring(ast.parse(text)).partition("\n\n")
        code = text.split('"""\n', 1)[1].lstrip()
        rest = re.sub(r"^(python examples/.*)", r"```\n\1\n```", rest, flags=re.MULTILINE)
        pages[f"examples/{path.stem}.md"] = (
            f"# {path.name}\n\n{title}\n\n{rest}\n\n```python\n{code}```\n"
        )
    return pages


def on_files(files, config):
    """Adds the pages from outside of docs/."""
    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for name, text in (example_pages() | api_pages()).items():
        files.append(File.generated(config, name, content=text))
    return files


@functools.cache
def all_public_names() -> set[str]:
    names = {f"lbkeras.{name}" for name in public_names("")}
    for path in PACKAGE.glob("*/__init__.pyi"):
        package = path.parent.name
        names.update(f"lbkeras.{package}.{name}" for name in public_names(package))
    return names


def reference(match: re.Match) -> str:
    """Returns a link to the API if the name is public, else the text unchanged."""
    name = f"lbkeras.{match[1] or match[2]}"
    return f"[{match[0]}][{name}]" if name in all_public_names() else match[0]


def on_page_markdown(markdown, page, config, files):
    """Turns links of the repository into links to the site's pages, and public names to the API.

    A file that is not a page is named instead, as the site has no repository to link to.
    """
    if page.file.src_uri.startswith(("api/", "examples/")):
        return markdown
    folder = "" if page.file.src_uri in OUTSIDE else "docs"

    def place(target: str) -> str:
        path = posixpath.normpath(posixpath.join(folder, target)).removeprefix("docs/")
        return re.sub(r"^(examples/\w+)\.py$", r"\1.md", path)

    def link(match):
        text, target, anchor = match.groups()
        path = place(target)
        if files.get_file_from_path(path) is None and (ROOT / path).exists():
            return text if text.strip("`") == path else f"{text} (`{path}`)"
        return f"[{text}]({path}{anchor or ''})"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    for i in range(0, len(parts), 2):  # the parts outside of code blocks
        parts[i] = PICTURE.sub(lambda match: f"![{match[1]}]({place(match[2])})", parts[i])
        parts[i] = LINK.sub(link, parts[i])
        parts[i] = NAME.sub(reference, parts[i])
    return "".join(parts)


class PublicNames(griffe.Extension):
    """Adds the public names of the stubs, which are loaded lazily, to the packages."""

    def on_package(self, *, pkg, **_) -> None:
        found = []  # find all of them first, since a name can hide a module
        for stub in PACKAGE.glob("*/__init__.pyi"):
            for name, defined in public_names(stub.parent.name).items():
                target = pkg[defined.removeprefix("lbkeras.")]
                found.append((pkg[stub.parent.name], name, target))
        for package, name, target in found:
            package.del_member(name)
            package.set_member(name, griffe.Alias(name, target, parent=package))

    def on_instance(self, *, obj, **_) -> None:
        if obj.docstring is not None:
            text = NAME.sub(reference, obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub(r"```pycon\n\g<0>\n```", text)
