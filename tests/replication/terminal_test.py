from pathlib import Path

from lbkeras.cli.report import report
from lbkeras.replication import build_report, format_table
from tests.terminal import pseudo_terminal, screen


def test_the_table_fits_a_terminal(full_workdir):
    text = format_table(build_report(full_workdir))
    narrow = format_table(build_report(full_workdir), width=80)
    assert all(len(line) <= 80 for line in narrow.splitlines())
    assert "94.30" in text and "paper updates" in text
    assert "INCONCLUSIVE: Increasing the batch keeps the accuracy." in text
    assert "increase_batch seed 2: diverged after 13 epochs" in text


def test_notes_are_set_apart(full_workdir):
    (full_workdir / "notes.txt").write_text("one\ntwo\n")
    text = format_table(build_report(full_workdir))
    assert "\n\nnote: one\nnote: two\n" in text


def test_the_last_lines_name_the_report_and_the_plots(full_workdir, no_curves, capsys, monkeypatch):
    report(full_workdir)
    lines = capsys.readouterr().out.splitlines()
    places = [f"report: {full_workdir / 'report.md'}", f"plots: {full_workdir / 'plots'}"]
    assert lines[-2:] == places and lines[-3] == "" != lines[-4]

    monkeypatch.chdir(full_workdir.parent)
    with pseudo_terminal(monkeypatch, 40) as written:
        report(Path("work"))
    shown = screen(written[0], 40)
    assert shown[-3:] == ["report: work/report.md", "plots: work/plots", ""]
    assert max(map(len, shown)) <= 40
