"""Packaging of lbkeras: `pip install -e .` for use, `pip install -e .[test]` to work on it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
URL = "https://github.com/lbkeras/lbkeras"  # to be compared with where it is published
# Read, not imported: what the package needs is not there yet.
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "lbkeras/__init__.py").read_text(), re.M)[1]

setup(
    name="lbkeras",
    version=VERSION,
    description="Large-batch training for Keras: schedules, callbacks and replications that hold.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    url=URL,
    project_urls={
        "Documentation": f"{URL}#readme",
        "Changelog": f"{URL}/blob/main/CHANGELOG.md",
        "Issues": f"{URL}/issues",
    },
    keywords=["keras", "large-batch training", "batch size", "learning rate", "LARS", "LAMB"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Software Development :: Libraries :: Python Modules",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # The papers' configs: next to the package in the clone, inside of it when installed.
    packages=[
        *find_packages(include=["lbkeras", "lbkeras.*"]),
        "lbkeras.configs",
        "lbkeras.configs.papers",
    ],
    package_dir={"lbkeras.configs": "configs"},
    package_data={"": ["*.pyi", "py.typed", "*.json"]},
    install_requires=[
        "absl-py>=2.1",
        "google-crc32c>=1.5",
        "importlib_resources>=6.0",  # tensorflow-datasets 4.9.10 imports it without declaring it
        "keras>=3.12.0",
        "matplotlib>=3.8",
        "ml-collections>=1.0",
        "numpy>=1.26",
        "pillow>=10.1",
        "protobuf>=5.26",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "tensorboard>=2.18",
        "tensorflow>=2.21",
        "tensorflow-datasets>=4.9.7",
    ],
    extras_require={
        "test": [
            "hypothesis>=6.100",
            "mypy>=1.15",
            "pytest>=8.0",
            "pytest-xdist>=3.5",
            "ruff>=0.9",
        ],
        "jax": ["jax>=0.4.30"],
        "docs": ["mkdocs-material>=9.6", "mkdocstrings[python]>=1.0"],
    },
    entry_points={"console_scripts": ["lbkeras=lbkeras.cli.main:run"]},
)
