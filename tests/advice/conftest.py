"""The config of the command line's own tests."""

from tests.cli.conftest import smith  # noqa: F401
