"""Makes BUILD.md's table of the package from tools/modules.toml.

python tools/module_table.py          writes the table
python tools/module_table.py --check  exits with 1 if the table is out of date
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "BUILD.md"
BEGIN, END = "<!-- modules: tools/module_table.py -->\n", "<!-- end of modules -->\n"
KINDS = ("pure", "keras", "jax", "tensorflow")


def table(modules: dict) -> str:
    """Returns the Markdown table: a row for each folder, then one for each module outside them."""
    lines = ["| folder | what | kind | imports |", "|---|---|---|---|"]
    for name, folder in modules["folders"].items():
        row = f"| `lbkeras/{name.replace('.', '/')}` | {folder['what']} | {_kinds(folder)} "
        lines.append(row + f"| {', '.join(folder['imports'])} |")
    for name, module in modules["files"].items():
        row = f"| `lbkeras/{name}.py` | {module['what']} | {module['kind']} "
        lines.append(row + f"| {', '.join(module['imports'])} |")
    return "\n".join(lines) + "\n"


def _kinds(folder: dict) -> str:
    """Returns the kind of most modules, then the other kinds with the names of their modules."""
    present = sorted((kind for kind in KINDS if kind in folder), key=lambda k: -len(folder[k]))
    first, *others = present
    named = [f"{kind}: {', '.join(f'`{m}`' for m in folder[kind])}" for kind in others]
    return "; ".join([first, *named])


def main() -> int:
    text = BUILD.read_text(encoding="utf-8")
    modules = tomllib.loads((ROOT / "tools/modules.toml").read_text(encoding="utf-8"))
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = before + BEGIN + table(modules) + END + after
    if "--check" not in sys.argv[1:]:
        BUILD.write_text(wanted, encoding="utf-8")
    elif text != wanted:
        print("BUILD.md: its table differs from tools/modules.toml; run tools/module_table.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
