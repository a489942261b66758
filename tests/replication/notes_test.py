import json

import pytest

from lbkeras.replication import build_report


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"seeds_in_config": [0, 1]}, None),
        ({"seeds_in_config": [0, 1], "command": "lbkeras replicate --seeds=2"}, None),
        (
            {"seeds_in_config": [0, 1, 2, 3]},
            "The config fixes n=4 (seeds 0 to 3); this replication has n=2 (seeds 0 to 1).",
        ),
        (
            {"seeds_in_config": [5, 6]},
            "The config fixes n=2 (seeds 5 to 6); this replication has n=2 (seeds 0 to 1).",
        ),
        (
            {"seeds_in_config": [7]},
            "The config fixes n=1 (seed 7); this replication has n=2 (seeds 0 to 1).",
        ),
        # Before 0.2.0 only the command shows it.
        (
            {"command": "lbkeras replicate --config.first_seed=5 --seeds=20 --data_dir=d"},
            "The seeds were set on the command line (--config.first_seed=5 --seeds=20), not by "
            "the config.",
        ),
        ({"command": "lbkeras replicate --config=seeds.py"}, None),
    ],
)
def test_seeds_that_the_config_does_not_fix_are_noted(make_workdir, settings, note):
    workdir = make_workdir({"original": ["finished"] * 2}, claims=[], **settings)
    assert build_report(workdir)["notes"] == ([note] if note else [])


def test_seeds_left_out_and_mixed_machines_are_noted(make_workdir):
    workdir = make_workdir({"original": ["finished"] * 3}, seeds=[0, 1], claims=[])
    path = workdir / "original/seed_1/record.json"
    record = json.loads(path.read_text())
    record["hardware"]["cpu_count"] = 64
    path.write_text(json.dumps(record))
    notes = " ".join(build_report(workdir)["notes"])
    assert "original/seed_2" in notes
    assert "2 different machines" in notes
