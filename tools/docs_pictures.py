"""Draws the pictures of README.md and docs/ from the records kept under results/.

    python tools/docs_pictures.py

docs/you2017_mnist.png is not drawn again: its records are gone.
"""

import shutil
import tempfile
from pathlib import Path

from lbkeras.replication import write_plots

ROOT = Path(__file__).parents[1]
PICTURES = {  # name in docs/: the replication and its picture
    "you2017_digits": ("you2017_digits", "val_accuracy_against_batch_size"),
    "keskar2017_mnist": ("keskar2017_mnist", "line"),
    "yuan2021_digits": ("yuan2021_digits", "val_accuracy_against_batch_size"),
    "mccandlish2018_digits": ("mccandlish2018_digits", "val_accuracy_against_updates"),
    "mccandlish2018_digits_noise_scale": (
        "mccandlish2018_digits",
        "gradient_noise_scale_against_epochs",
    ),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for replication in sorted({replication for replication, _ in PICTURES.values()}):
            workdir = Path(folder) / replication
            shutil.copytree(ROOT / "results" / replication, workdir)
            write_plots(workdir)
        for name, (replication, picture) in PICTURES.items():
            drawn = Path(folder) / replication / "plots" / f"{picture}.png"
            shutil.copyfile(drawn, ROOT / "docs" / f"{name}.png")


if __name__ == "__main__":
    main()
