"""Commands in this process and others, as for the command line's own tests."""

from tests.cli.conftest import fails, forked, process, smith, succeeds  # noqa: F401
