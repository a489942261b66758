import pytest

from lbkeras.errors import UserError
from lbkeras.replication.replication_folder import read_replication_folder


def test_a_folder_that_is_no_replication_is_named(tmp_path):
    with pytest.raises(UserError, match="without replication.json"):
        read_replication_folder(tmp_path)


def test_a_replication_of_a_newer_lbkeras_is_refused(make_workdir):
    path = make_workdir({"original": ["finished"]}, claims=[], format=2) / "replication.json"
    with pytest.raises(UserError, match=rf"^{path}: expected a format from 0 to 1, .*received 2;"):
        read_replication_folder(path.parent)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("replication.json", r"replication\.json, line 2"),
        ("original/seed_0/record.json", r"original/seed_0/record\.json, line 2"),
        ("original/seed_0/history.jsonl", r"original/seed_0/history\.jsonl, line 2"),
        ("original/seed_0/plan.json", r"original/seed_0/plan\.json, line 2"),
    ],
)
def test_damaged_files_are_named_with_their_line(make_workdir, damage, message):
    workdir = make_workdir({"original": ["finished"]}, claims=[])
    (workdir / damage).write_text('{"epoch": 0}\n{"broken\n')
    with pytest.raises(UserError, match=message):
        read_replication_folder(workdir)


def test_a_claim_about_an_unknown_arm_is_named(make_workdir):
    workdir = make_workdir({"original": ["finished"]})
    with pytest.raises(UserError, match="arm: expected one of original"):
        read_replication_folder(workdir)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"arms": ["a"]}', "expected two 'arms'"),
        ('{"arms": ["a", "b"]}', "expected a value of 'alpha' for each alpha"),
        ('{"arms": ["a", "b"], "alpha": [0], "loss": []}', "expected a value of 'loss'"),
        ("{", "line 1"),
    ],
)
def test_a_damaged_line_is_named(make_workdir, text, message):
    workdir = make_workdir({"original": ["finished"]}, claims=[])
    (workdir / "line_seed_0.json").write_text(text)
    with pytest.raises(UserError, match=f"line_seed_0.json.*{message}"):
        read_replication_folder(workdir).lines()
