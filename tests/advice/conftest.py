"""Shares a config with the tests of the command line."""

from tests.cli.conftest import smith  # noqa: F401
