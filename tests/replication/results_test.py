import json
import shutil
import subprocess
import sys

import pytest

from lbkeras.errors import UserError
from lbkeras.replication import render_results
from lbkeras.replication.results import main

SMITH = "## Smith et al. 2018 on digits"
EXISTING = f"""# Results

An older introduction.

## Before (mnist)

kept first

| a ## b |

{SMITH}

old

### Not a section of its own

## After (mnist)

kept last
"""


@pytest.fixture
def second_workdir(full_workdir, tmp_path):
    """A replication of another title."""
    other = tmp_path / "other"
    shutil.copytree(full_workdir, other)
    description = json.loads((other / "replication.json").read_text())
    description["title"] = "Another paper (digits)"
    (other / "replication.json").write_text(json.dumps(description))
    return other


def test_a_section_a_replication_without_paths_of_this_machine(full_workdir, second_workdir):
    text = render_results([full_workdir, second_workdir])
    assert text.count(SMITH) == 1 and text.count("## Another paper (digits)") == 1
    assert str(full_workdir.parent) not in text
    for expected in ("n=2, 1 diverged", "Test CPU", "keras 3.15.1", "2025-03-01", "inconclusive"):
        assert expected in text
    assert render_results([full_workdir, second_workdir]) == text


def test_a_section_replaces_the_one_with_its_heading_and_the_others_stay(
    full_workdir, second_workdir
):
    text = render_results([second_workdir, full_workdir], EXISTING)
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## Before (mnist)", SMITH, "## After (mnist)", "## Another paper (digits)"]
    before, after = text.index("## Before"), text.index("## After")
    assert text[before : text.index(SMITH)] == "## Before (mnist)\n\nkept first\n\n| a ## b |\n\n"
    assert text[after : text.index("## Another")] == "## After (mnist)\n\nkept last\n\n"
    assert not any(old in text for old in ("\nold", "older", "### Not"))
    assert render_results([full_workdir]).partition(SMITH)[2].strip() in text
    assert render_results([second_workdir, full_workdir], text) == text
    assert render_results([], text) == text


def test_two_sections_of_one_heading(full_workdir):
    with pytest.raises(UserError, match="workdirs: expected one .*received two .*'## Smith et al"):
        render_results([full_workdir, full_workdir])
    with pytest.raises(UserError, match="existing results: expected each .*received two .*'## A'"):
        render_results([full_workdir], "## A\n\n## A\n")


def test_the_module_prints(full_workdir):
    command = [sys.executable, "-W", "error", "-m", "lbkeras.replication.results"]
    done = subprocess.run([*command, str(full_workdir)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == render_results([full_workdir])


def test_the_module_writes_a_file(full_workdir, tmp_path):
    assert main([str(full_workdir), f"--output={tmp_path / 'RESULTS.md'}"]) == 0
    assert (tmp_path / "RESULTS.md").read_text() == render_results([full_workdir])


def test_the_module_keeps_the_sections_of_its_output(full_workdir, tmp_path):
    output = tmp_path / "RESULTS.md"
    output.write_text(EXISTING)
    assert main([str(full_workdir), f"--output={output}"]) == 0
    assert output.read_text() == render_results([full_workdir], EXISTING)
    assert "kept first" in output.read_text()


def test_a_user_error_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("lbkeras: error: ")
