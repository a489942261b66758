"""The papers' configs, which are installed with lbkeras as files: found by their names anywhere."""

from pathlib import Path


def package() -> Path:
    """The folder of lbkeras."""
    return Path(__file__).resolve().parents[1]


def folder() -> Path:
    """Where they are: inside the installed package, in a clone beside it."""
    places = (package(), package().parent)
    installed, beside = (place / "configs" / "papers" for place in places)
    return installed if installed.is_dir() else beside


def files() -> dict[str, Path]:
    """The name of each, such as `smith2018`, to its file."""
    return {path.stem: path for path in sorted(folder().glob("[!_]*.py"))}


def find(name: str) -> Path | None:
    """The file of a config; None: there is none of that name.

    Args:
        name: a file's name with or without `.py`, or its author and year:
            `hoffer2017_ghost_batch.py` and `hoffer2017` are the same.
    """
    name, known = name.removesuffix(".py"), files()
    of_a_paper = {stem.split("_")[0]: path for stem, path in known.items()}
    return (of_a_paper | known).get(name)
