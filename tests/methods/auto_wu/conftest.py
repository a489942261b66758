"""Replication folders, shared with the report's tests."""

from tests.replication.conftest import full_workdir, make_workdir, no_curves  # noqa: F401
