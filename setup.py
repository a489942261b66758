"""Packaging of lbkeras: `pip install -e .` for use, `pip install -e .[test]` to work on it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
# Read, not imported: what the package needs is not there yet.
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "lbkeras/__init__.py").read_text(), re.M)[1]

setup(
    name="lbkeras",
    version=VERSION,
    description="Large-batch training for Keras: schedules, callbacks and replications that hold.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["lbkeras", "lbkeras.*"]),
    package_data={"": ["*.pyi", "py.typed"]},
    install_requires=[
        "absl-py>=2.1",
        "importlib_resources>=6.0",  # tensorflow-datasets 4.9.10 imports it without declaring it
        "keras>=3.12.0",
        "matplotlib>=3.8",
        "ml-collections>=1.0",
        "numpy>=1.26",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "tensorboard>=2.18",
        "tensorflow>=2.21",
        "tensorflow-datasets>=4.9.7",
    ],
    extras_require={
        "test": ["hypothesis>=6.100", "pytest>=8.0", "pytest-xdist>=3.5", "ruff>=0.9"],
        "jax": ["jax>=0.4.30"],
        "docs": ["mkdocs-material>=9.6", "mkdocstrings[python]>=1.0"],
    },
    entry_points={"console_scripts": ["lbkeras=lbkeras.cli.main:run"]},
)
