"""The kept files of a replication: enough to report it, and nothing about the machine."""

import json
import re
from pathlib import Path

import pytest

from lbkeras.errors import UserError
from lbkeras.replication import build_report, keep_results
from lbkeras.replication.keep import main, without_places

ROOT = Path(__file__).parents[2]
FINISHED = {"original": ["finished", "finished"], "increase_batch": ["finished", "diverged"]}
KEPT = {
    *("replication.json", "notes.txt", "section.md"),
    *("config.json", "plan.json", "record.json", "history.jsonl", "auto_wu.json"),
    *("measurements.md", "gpu_report_1.json", "gpu_report_2.json"),
    *("bench_jax.json", "bench_jax_plain.json"),
}


@pytest.fixture
def workdir(make_workdir):
    """A finished replication with all the files that a run writes besides the small ones."""
    path = make_workdir(FINISHED)
    for run in path.glob("*/seed_*"):
        (run / "config.json").write_text(json.dumps({"arm": run.parent.name}))
        (run / "auto_wu.json").write_text("{}")
        for name in ("model.keras", "micro_batch.json", ".lock"):
            (run / name).write_text("{}")
        for name in ("checkpoints/update_1.npz", "tensorboard/train/events"):
            (run / name).parent.mkdir(parents=True)
            (run / name).write_text("x")
    for name in ("report.md", "report.json", ".lock"):
        (path / name).write_text("{}")
    (path / "line_seed_0.json").write_text('{"arms": []}')
    (path / "original/seed_9").mkdir()  # not one of replication.json's
    (path / "original/seed_9/record.json").write_text('{"status": "finished"}')
    return path


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def contents(folder):
    return {name: (folder / name).read_bytes() for name in files(folder)}


def test_what_a_report_reads_is_kept_and_nothing_else(workdir, tmp_path):
    kept = keep_results(workdir, tmp_path / "results")
    assert kept == tmp_path / "results" / "work"
    runs = [f"{arm}/seed_{seed}" for arm in FINISHED for seed in (0, 1)]
    names = ("config.json", "plan.json", "record.json", "history.jsonl", "auto_wu.json")
    expected = {f"{run}/{name}" for run in runs for name in names}
    assert files(kept) == expected | {"replication.json", "line_seed_0.json"}
    assert [path.name for path in kept.parent.iterdir()] == ["work"]


def test_the_kept_files_report_the_same(workdir, tmp_path):
    report = build_report(keep_results(workdir, tmp_path / "results"))
    expected = build_report(workdir)
    (left_out,) = expected.pop("notes")
    assert "original/seed_9" in left_out and not report.pop("notes")
    (diverged,) = report.pop("runs_not_finished")
    assert diverged == expected.pop("runs_not_finished")[0] | {
        "error": "the loss was nan in .../seed_1"
    }
    assert report == expected


def test_keeping_again_replaces_what_was_kept(workdir, tmp_path):
    kept = keep_results(workdir, tmp_path / "results")
    first = contents(kept)
    (kept / "original/seed_0/record.json").unlink()
    (kept / "section.md").write_text("## A section of 0.1.0")
    assert contents(keep_results(workdir, tmp_path / "results")) == first
    assert contents(keep_results(kept, tmp_path / "again")) == first


def test_notes_are_the_workdirs_or_those_kept_before(workdir, tmp_path):
    kept = keep_results(workdir, tmp_path / "results")
    (kept / "notes.txt").write_text("Written here.\n")
    keep_results(workdir, tmp_path / "results")
    assert (kept / "notes.txt").read_text() == "Written here.\n"
    (workdir / "notes.txt").write_text("The data were in /home/me/data.\n")
    keep_results(workdir, tmp_path / "results")
    assert (kept / "notes.txt").read_text() == "The data were in .../data.\n"


def test_a_failed_copy_leaves_the_earlier_one(workdir, tmp_path, monkeypatch):
    kept = keep_results(workdir, tmp_path / "results")
    before = contents(kept)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("lbkeras.replication.keep._copy_run", fail)
    with pytest.raises(OSError, match="disk full"):
        keep_results(workdir, tmp_path / "results")
    assert contents(kept) == before
    assert [path.name for path in kept.parent.iterdir()] == ["work"]


@pytest.mark.parametrize("status", ["interrupted", "running", None])
def test_a_run_that_has_not_ended_is_refused_unless_asked_for(make_workdir, tmp_path, status):
    workdir = make_workdir({"original": ["finished", status], "increase_batch": ["finished"]})
    results = tmp_path / "results"
    message = rf"{workdir}: expected runs that have ended, received 2 .* original seed 1 \("
    with pytest.raises(UserError, match=message):
        keep_results(workdir, results)
    assert not results.exists()
    kept = keep_results(workdir, results, unfinished=True)
    assert (kept / "original/seed_1").exists() == (status is not None)
    assert not (kept / "increase_batch/seed_1").exists()
    assert build_report(kept)["arms"] == build_report(workdir)["arms"]


def test_another_replication_of_the_same_name_is_refused(workdir, tmp_path):
    keep_results(workdir, tmp_path / "results")
    description = json.loads((workdir / "replication.json").read_text())
    (workdir / "replication.json").write_text(json.dumps(description | {"title": "Another"}))
    with pytest.raises(UserError, match="expected the kept replication 'Smith.*received 'Another'"):
        keep_results(workdir, tmp_path / "results")


def test_format_numbers_are_copied_unchanged(workdir, tmp_path):
    """A format number that is newer than the file's content would be worse than none."""
    record = json.loads((workdir / "original/seed_0/record.json").read_text())
    (workdir / "original/seed_0/record.json").write_text(json.dumps({"format": 1} | record))
    kept = keep_results(workdir, tmp_path / "results")
    formats = [
        json.loads((kept / f"original/seed_{seed}/record.json").read_text()).get("format")
        for seed in (0, 1)
    ]
    assert formats == [1, None]
    assert "format" not in json.loads((kept / "replication.json").read_text())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/me/configs/papers/a.py:digits", ".../a.py:digits"),
        ("see '/tmp/a/b' and ~/c/d.", "see '.../b' and .../d."),
        ("(/tmp/x); a,/tmp/y/", "(.../x); a,.../y"),
        ("configs/papers/a.py:digits", "configs/papers/a.py:digits"),
        ("../shared/data and a/b, 1 / 2, tr(S)/|G|", "../shared/data and a/b, 1 / 2, tr(S)/|G|"),
        ("https://arxiv.org/abs/1 gs://bucket/a", "https://arxiv.org/abs/1 gs://bucket/a"),
    ],
)
def test_paths_in_a_text(text, expected):
    assert without_places({"a": [text]}) == {"a": [expected]}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("lbkeras train --data_dir=/data/tfds --workdir runs/a",
         "lbkeras train --data_dir=.../tfds --workdir runs/a"),
        ("lbkeras train --workdir '/home/me/my runs/a' --seed=1",
         "lbkeras train --workdir .../a --seed=1"),
        ("lbkeras train --workers=gpu1:2,gpu2:2 --worker_index=0",
         "lbkeras train --workers=... --worker_index=0"),
        ("lbkeras train --workers gpu1:2", "lbkeras train --workers ..."),
        ("lbkeras train --config.a=b,/home/me/c", "lbkeras train --config.a=b,.../c"),
        (None, None),
        ("lbkeras 'train /home/me/a", "lbkeras 'train .../a"),
        ("lbkeras train '--config.plan.boundaries=(1,2)'",
         "lbkeras train '--config.plan.boundaries=(1,2)'"),
    ],
)  # fmt: skip
def test_paths_in_a_command(command, expected):
    assert without_places({"command": command}) == {"command": expected}


def test_the_module_keeps_several_and_names_one_it_cannot_keep(workdir, tmp_path, capsys):
    results = tmp_path / "results"
    assert main([str(workdir), f"--results={results}"]) == 0
    assert capsys.readouterr().out == f"{results / 'work'}\n"
    assert main([str(workdir), str(tmp_path), f"--results={results}"]) == 2
    assert capsys.readouterr().err == (
        f"lbkeras: error: {tmp_path}: expected a folder written by `lbkeras replicate`, received "
        "one without replication.json\n"
    )


def test_the_kept_results_are_small_and_contain_no_paths():
    size = 0
    for path in (ROOT / "results").rglob("*"):
        if path.is_dir() or path.name in ("report.md", "report.json") or path.suffix == ".png":
            continue  # what `lbkeras report` makes there is not in the repository
        assert path.name in KEPT or re.fullmatch(r"line_seed_\d+\.json", path.name), path
        size += path.stat().st_size
        text = path.read_text(encoding="utf-8")
        assert without_places(text) == text, path
    assert 0 < size < 80e6  # twenty seeds of a config take up to 6 MB; gzip makes a fifth of it
