"""`lbkeras report` on folders without a replication; `replicate_test.py` tests the report."""

import pytest


@pytest.mark.parametrize(
    ("folder", "received"),
    [("there", "one without replication.json"), ("nowhere", "one that does not exist")],
)
def test_a_folder_without_a_replication(folder, received, tmp_path, fails):
    (tmp_path / "there").mkdir()
    assert fails("report", f"--workdir={tmp_path / folder}") == (
        f"{tmp_path / folder}: expected a folder written by `lbkeras replicate`, "
        f"received {received}"
    )


def test_a_malformed_replication(tmp_path, fails):
    (tmp_path / "replication.json").write_text("{")
    assert fails("report", f"--workdir={tmp_path}").startswith(
        f"{tmp_path / 'replication.json'}, line 1: expected a JSON object"
    )
