import subprocess
import sys

from lbkeras.replication import render_results
from lbkeras.replication.results import main


def test_a_section_a_replication_without_paths_of_this_machine(full_workdir):
    text = render_results([full_workdir, full_workdir])
    assert text.count("## Smith et al. 2018 on digits") == 2
    assert str(full_workdir.parent) not in text
    for expected in ("n=2, 1 diverged", "Test CPU", "keras 3.15.1", "2025-03-01", "inconclusive"):
        assert expected in text
    assert render_results([full_workdir, full_workdir]) == text


def test_the_module_prints(full_workdir):
    command = [sys.executable, "-W", "error", "-m", "lbkeras.replication.results"]
    done = subprocess.run([*command, str(full_workdir)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == render_results([full_workdir])


def test_the_module_writes_a_file(full_workdir, tmp_path):
    assert main([str(full_workdir), f"--output={tmp_path / 'RESULTS.md'}"]) == 0
    assert (tmp_path / "RESULTS.md").read_text() == render_results([full_workdir])


def test_a_user_error_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("lbkeras: error: ")
