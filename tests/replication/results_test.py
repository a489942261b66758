import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lbkeras.errors import UserError
from lbkeras.replication import render_results
from lbkeras.replication.results import main

ROOT = Path(__file__).parents[2]
SMITH = "## Smith et al. 2018 on digits"
OLD = """## Before (mnist)

Paper: nobody.

- `a`: 97 %

### Not a section of its own
"""
GONE = "The records of these runs are gone: the numbers and verdicts are those that lbkeras 0.1.0"


@pytest.fixture
def results(full_workdir):
    """A folder with a kept replication, whose name is `work`."""
    folder = full_workdir.parent / "results"
    folder.mkdir()
    full_workdir.rename(folder / "work")
    return folder


def add_old_section(results, name="old", text=OLD):
    (results / name).mkdir()
    (results / name / "section.md").write_text(text)


def headings(text):
    return [line for line in text.splitlines() if line.startswith("## ")]


def test_the_results_of_this_repository_are_up_to_date():
    arguments = [f"--results={ROOT / 'results'}", f"--output={ROOT / 'RESULTS.md'}", "--check"]
    assert main(arguments) == 0  # and docs/proof.md, configs/papers/measured.json
    text = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    assert len(headings(text)) == len(list((ROOT / "results").iterdir()))


def test_measurements_are_written_beside_the_configs(results):
    kept = results.parent / "configs/papers/measured.json"
    arguments = [f"--results={results}", f"--output={results.parent / 'RESULTS.md'}"]
    assert main(arguments) == 0 and not kept.exists()
    kept.parent.mkdir(parents=True)
    assert main([*arguments, "--check"]) == 2 and not kept.exists()
    assert main(arguments) == 0 and main([*arguments, "--check"]) == 0
    kept.write_text("{}")
    assert main([*arguments, "--check"]) == 2


def test_the_table_of_proof_is_written_to_docs(results):
    arguments = [f"--results={results}", f"--output={results.parent / 'RESULTS.md'}"]
    for name in ("configs/papers", "docs"):
        (results.parent / name).mkdir(parents=True)
    page = results.parent / "docs/proof.md"
    assert main(arguments) == 0 and main([*arguments, "--check"]) == 0
    assert page.read_text().startswith("# Table of proof\n")
    page.write_text(page.read_text() + "edited")
    assert main([*arguments, "--check"]) == 2


def test_a_section_holds_the_report_without_paths_of_this_machine(results):
    text = render_results(results)
    assert headings(text) == [SMITH]
    assert str(results.parent) not in text
    for expected in ("n=2, 1 diverged", "Test CPU", "keras 3.15.1", "2025-03-01", "inconclusive"):
        assert expected in text
    assert "`increase_batch` seed 2 diverged after 13 epochs; `increase_learning_rate` seed 1 " in (
        text
    )
    assert GONE not in text


def test_a_section_whose_records_are_gone_says_so(results):
    add_old_section(results)
    text = render_results(results)
    section = text[text.index("## Before") : text.index(SMITH)]
    heading, sentence, rest = section.split("\n\n", 2)
    assert heading == "## Before (mnist)" and sentence.startswith(GONE)
    assert rest == OLD.split("\n\n", 1)[1] + "\n"
    assert text.count(GONE) == 1


OLD_CLAIMS = """## Old

| claim | verdict | effect, ours | paper | n | reason |
| --- | --- | --- | --- | --- | --- |
| C 1. | **supported** | +1 | – | 3 and 3 | b is worse than a (val_accuracy; p = 0.030). |
| C 2. | **supported** | +1 | – | 3 and 3 | b is worse than c (sharpness_5e-4; p < 0.001). |
| C 3. | **not supported** | +1 | – | 3 and 3 | b is not worse than d (val_loss; p = 0.011). |
| C 4. | **inconclusive** | +1 | – | 3 and 3 | The seeds do not decide it (loss; p = 0.600). |
| C 5. | **supported** | +2x | – | 3 and 3 | a has 2x b (updates; exact: no value varies). |
"""


def test_old_verdicts_that_do_not_survive_the_correction_are_named(results):
    add_old_section(results, "old", OLD_CLAIMS)
    text = render_results(results)
    # 4 tests: 0.03 is the second smallest p-value of support (times 3), 0.011 the smallest of those
    # against (times 4).
    assert "would be inconclusive: b is worse than a (corrected p = 0.090).\n" in text
    (results / "old/section.md").write_text(OLD_CLAIMS.replace("0.030", "0.001"))
    assert "correction of the p-values changes no verdict." in render_results(results)
    (results / "old/section.md").write_text(OLD_CLAIMS.replace("0.011", "0.015"))
    assert "; b is not worse than d (corrected p = 0.060).\n" in render_results(results)


def test_measurements_are_rendered_unchanged(results):
    (results / "gpu").mkdir()
    (results / "gpu/measurements.md").write_text(OLD)
    (results / "gpu/report.json").write_text("{}")
    assert f"\n\n{OLD}\n{SMITH}\n" in render_results(results)


def numbers_in(value):
    if isinstance(value, dict | list):
        values = value.values() if isinstance(value, dict) else value
        return [number for each in values for number in numbers_in(each)]
    return [value] if isinstance(value, int | float) else []


def test_the_numbers_in_tables_of_measurements_are_in_the_files_beside_them():
    """As written, or as a percentage; without the heads of rows and columns."""
    found = 0
    for text in (ROOT / "results").glob("*/measurements.md"):
        files = text.parent.glob("*.json")
        known = {n for file in files for n in numbers_in(json.loads(file.read_text()))}
        rows = re.findall(r"^\|[^|]+\|(.*\d.*)\|$(?!\n\| -)", text.read_text(), re.M)
        cells = [cell.strip() for row in rows for cell in row.split("|")]
        cells = [cell for cell in cells if re.fullmatch(r"[\d,.e() /to-]+", cell)]
        written = [each for cell in cells for each in re.findall(r"\d[\d,]*\.?\d*(?:e-\d+)?", cell)]
        assert written
        for number in written:
            end = f".{len(number.partition('.')[2])}f"
            end = ".1e" if "e" in number else f",{end}"
            assert any(number in (f"{n:{end}}", f"{100 * n:{end}}") for n in known), number
        found += len(written)
    assert found > 100


def test_sections_are_in_the_order_of_the_folders_names(results):
    for name in ("zhu2020", "work_b", "an2017"):
        add_old_section(results, name, f"## {name}\n")
    (results / ".work.new").mkdir()
    (results / "README.md").write_text("no folder")
    assert headings(render_results(results)) == ["## an2017", SMITH, "## work_b", "## zhu2020"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("work", OLD, "results/work: expected one of .*, received replication.json and section.md"),
        (
            "old",
            None,
            "old: expected one of replication.json, .*, measurements.md, .* none of them",
        ),
        ("old", f"{SMITH}\n", f"results/work: expected a heading that no other .*'{SMITH}'"),
        (
            "old",
            "Results\n",
            "section.md: expected one section that starts with .* 'Results'",
        ),
        ("old", f"{OLD}\n## A\n", "section.md: expected one section"),
    ],
)
def test_a_folder_that_is_no_section_is_named(results, name, text, message):
    (results / name).mkdir(exist_ok=True)
    if text:
        (results / name / "section.md").write_text(text)
    with pytest.raises(UserError, match=message):
        render_results(results)


def test_a_folder_without_results(tmp_path, capsys):
    assert main([f"--results={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert (
        error == f"lbkeras: error: {tmp_path}: expected a folder of kept replications, found none\n"
    )


def test_the_module_writes_the_file(results):
    command = [sys.executable, "-W", "error", "-m", "lbkeras.replication.results"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=results.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (results.parent / "RESULTS.md").read_text() == render_results(results)


def test_a_file_that_was_edited_fails_the_check_and_stays(results, capsys):
    output = results.parent / "out.md"
    arguments = [f"--results={results}", f"--output={output}"]
    assert main([*arguments, "--check"]) == 2 and not output.exists()
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    capsys.readouterr()
    edited = output.read_text().replace("inconclusive", "supported")
    output.write_text(edited)
    assert main([*arguments, "--check"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"lbkeras: error: {output}: expected the text that `python -m")
    assert error.count("\n") == 1
    assert output.read_text() == edited
