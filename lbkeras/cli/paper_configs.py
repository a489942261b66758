"""Finds the papers' configs, which are installed with lbkeras as files, by their names."""

from pathlib import Path


def package() -> Path:
    """Returns the folder of lbkeras."""
    return Path(__file__).resolve().parents[1]


def folder() -> Path:
    """Returns the papers' configs' folder: inside the installed package, in a clone beside it."""
    places = (package(), package().parent)
    installed, beside = (place / "configs" / "papers" for place in places)
    return installed if installed.is_dir() else beside


def files() -> dict[str, Path]:
    """Returns each config's file by its name, such as `smith2018`."""
    return {path.stem: path for path in sorted(folder().glob("[!_]*.py"))}


def find(name: str) -> Path | None:
    """Returns the file of a config; None if there is none of that name.

    Args:
        name: a file's name with or without `.py`, or only its author and year:
            `hoffer2017_ghost_batch.py` and `hoffer2017` are the same.
    """
    name, known = name.removesuffix(".py"), files()
    of_a_paper = {stem.split("_")[0]: path for stem, path in known.items()}
    return (of_a_paper | known).get(name)
