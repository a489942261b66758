"""BUILD.md's table of the package, made from tools/modules.toml.

python tools/module_table.py          writes it
python tools/module_table.py --check  status 1 where it is not what the file says
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "BUILD.md"
BEGIN, END = "<!-- modules: tools/module_table.py -->\n", "<!-- end of modules -->\n"
KINDS = ("pure", "keras", "jax", "tensorflow")


def table(modules: dict) -> str:
    """The Markdown table: a row for each folder, then one for each module outside of them."""
    lines = ["| folder | what | kind | imports |", "|---|---|---|---|"]
    for name, folder in modules["folders"].items():
        row = f"| `lbkeras/{name.replace('.', '/')}` | {folder['what']} | {_kinds(folder)} "
        lines.append(row + f"| {', '.join(folder['imports'])} |")
    for name, module in modules["files"].items():
        row = f"| `lbkeras/{name}.py` | {module['what']} | {module['kind']} "
        lines.append(row + f"| {', '.join(module['imports'])} |")
    return "\n".join(lines) + "\n"


def _kinds(folder: dict) -> str:
    """The kind of most of its modules, then those of the others with their names."""
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
        print("BUILD.md: its table is not that of tools/modules.toml; run tools/module_table.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
