"""With a memory limit, the death of a process is one line; everything else is as without it."""

import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import os, signal, sys, time
from lbkeras.cli import memory
def main(arguments):
    {body}
sys.exit(memory.guarded(main, ["train", "--memory_limit_mb={limit}"]))
"""


def start(body, limit=64):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body, limit=limit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_death_where_memory_runs_out_is_one_line(number):
    process = start(f"os.kill(os.getpid(), {int(number)})")
    assert process.communicate()[1] == (
        "lbkeras: error: --memory_limit_mb: expected a limit that the run fits in, received "
        f"memory_limit_mb=64, under which the process died of {number.name}; raise it, or lower "
        "--micro_batch_size or data.test_batch_size\n"
    )
    assert process.returncode == 2


@pytest.mark.parametrize(
    ("body", "limit", "status"),
    [
        ("return 3", 64, 3),
        ("os.kill(os.getpid(), signal.SIGKILL)", 64, -signal.SIGKILL),
        ("os.abort()", 0, -signal.SIGABRT),
    ],
)
def test_other_exits_are_unchanged(body, limit, status):
    process = start(body, limit)
    assert process.communicate()[1] == ""
    assert process.returncode == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_forwarded(number):
    process = start(
        f"signal.signal({int(number)}, lambda *_: os._exit(7)); print('ready', flush=True); "
        "time.sleep(60)"
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(timeout=30) == 7


def test_the_process_does_not_outlive_the_one_that_guards_it():
    process = start("print(os.getpid(), flush=True); time.sleep(60)")
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    for _ in range(200):
        try:
            with open(f"/proc/{child}/stat") as file:
                if file.read().split()[2] == "Z":
                    return
        except FileNotFoundError:
            return
        time.sleep(0.02)
    pytest.fail("it is still there")
