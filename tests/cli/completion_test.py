"""Completion in bash and zsh, typed into a real shell on a pseudo-terminal."""

import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from lbkeras.cli import completion
from lbkeras.cli.main import COMMANDS

END = b"<end>"


def completed(shell, begin, lines, folder):
    """Returns what each line becomes when Tab is pressed at its end.

    Ctrl-A puts `printf` before the line and Return runs it, so the shell itself prints the line.
    """
    parent, child = pty.openpty()
    env = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder), "PS1": "> "}
    process = subprocess.Popen(
        shell, stdin=child, stdout=child, stderr=child, cwd=folder, env=env, start_new_session=True
    )
    os.close(child)

    def read_until(end):
        text = b""
        deadline = time.monotonic() + 20
        while end not in text:
            assert select.select([parent], [], [], deadline - time.monotonic())[0], text
            text += os.read(parent, 4096)
        return text

    try:
        os.write(parent, begin.encode() + b"; echo '<e''nd>'\n")
        read_until(END)
        becomes = []
        for line in lines:
            os.write(parent, line.encode() + b"\t" + b"\x01printf '%s|<e''nd>' '\x05'\n")
            text = read_until(END)
            becomes.append(re.findall(rb"([^\r\n]*)\|" + END, text)[-1].decode())
        return becomes
    finally:
        process.kill()
        process.wait()
        os.close(parent)


TYPED = {
    "lbkeras tr": "lbkeras train ",
    "lbkeras plan --fo": "lbkeras plan --format=",
    "lbkeras plan --format=j": "lbkeras plan --format=json ",
    "lbkeras plan --pr": "lbkeras plan --probe ",
    "lbkeras train --config=smi": "lbkeras train --config=smith2018:",
    "lbkeras train --config=smith2018:paper": "lbkeras train --config=smith2018:paper_cifar10 ",
    "lbkeras plan --config=my_": "lbkeras plan --config=my_own.py ",
    "lbkeras train --workdir=a_f": "lbkeras train --workdir=a_folder/",
    "lbkeras configs hoffer2017": "lbkeras configs hoffer2017_ghost_batch ",
    "lbkeras completion z": "lbkeras completion zsh ",
    "lbkeras doctor --workdir=a_f": "lbkeras doctor --workdir=a_f",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my_own.py").touch()
    (tmp_path / "a_folder").mkdir()
    return tmp_path


@pytest.mark.parametrize("breaks", ["", "COMP_WORDBREAKS=' '"])
def test_bash_completes_what_is_typed(breaks, folder):
    (folder / "script").write_text(completion.bash(COMMANDS))
    shell = ["bash", "--norc", "--noprofile", "-i"]
    begin = f"bind 'set enable-bracketed-paste off'; source ./script; {breaks or ':'}"
    assert completed(shell, begin, list(TYPED), folder) == list(TYPED.values())


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_what_is_typed(folder):
    (folder / "script").write_text(completion.zsh(COMMANDS))
    begin = "unset zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; source ./script"
    becomes = completed(["zsh", "-f", "-i"], begin, list(TYPED), folder)
    # The suffix that zsh adds to a word disappears when the cursor moves.
    assert [text.rstrip("=/ ") for text in becomes] == [
        text.rstrip("=/ ") for text in TYPED.values()
    ]


def test_every_flag_of_every_command_is_completed(capsys):
    from lbkeras.cli.main import main

    scripts = {shell: make(COMMANDS) for shell, make in completion._SCRIPTS.items()}
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        for name in re.findall(r"^  (--\w+)$", capsys.readouterr().out, re.M):
            assert re.search(rf'"{command} -"\*\) words="[^"]*{name}\b', scripts["bash"]), name
            section = scripts["zsh"].partition(f"    {command}) ")[2].partition(";;")[0]
            assert f"'{name}" in section


def test_another_shell(fails):
    assert fails("completion", "fish") == ("completion: expected one of bash, zsh, received 'fish'")
    assert fails("completion") == "completion: expected bash or zsh, received none"
