"""Folders of a replication, as for the report's own tests."""

from tests.replication.conftest import full_workdir, make_workdir, no_curves  # noqa: F401
