"""Each worker notices when another stops, dies or is silent, but not when all pause together."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from lbkeras.distribution.line import Line
from lbkeras.distribution.rendezvous import meet
from lbkeras.distribution.workers import Workers
from tests.ports import reserve_addresses

ADDRESSES = ["one:1", "two:2", "three:3"]
AGAIN = "run the same command again on every worker to resume from the last checkpoint"


@pytest.fixture
def join():
    """A function: returns connected workers, and for each a queue of what its `on_stop` is told."""
    made = []

    def run(number=2, timeout_seconds=10.0):
        lines = {index: {} for index in range(number)}
        for index in range(1, number):
            pair = socket.socketpair()
            lines[0][index], lines[index][0] = map(Line, pair)
        heard = [queue.Queue() for _ in range(number)]
        made.extend(
            Workers(index, ADDRESSES[:number], lines[index], timeout_seconds, heard[index].put)
            for index in range(number)
        )
        return made[-number:], heard

    yield run
    for each in made:
        each.leave()


def test_all_get_what_the_chief_shares(join):
    (chief, first, second), _ = join(3)
    assert [w.is_chief for w in (chief, first, second)] == [True, False, False]
    assert chief.share({"status": "finished"}) == {"status": "finished"}
    assert first.share() == second.share() == {"status": "finished"}


def test_a_worker_that_stops_early_tells_all_why(join):
    (_, first, _), heard = join(3)
    first.leave("data set 'mnist' is not on disk\x1b[2J")
    expected = "worker 1 (two:2) stopped: data set 'mnist' is not on disk\\x1b[2J"
    assert [heard[0].get(timeout=10), heard[2].get(timeout=10)] == [expected] * 2


def test_leave_waits_while_on_stop_reports_another_reason(join):
    (first, second), heard = join()
    began, ended = threading.Event(), threading.Event()

    def end(sentence):
        began.set()
        ended.wait(10)

    first._on_stop = end
    second.leave("it has no data")
    assert began.wait(10)
    leaving = threading.Thread(target=first.leave, args=("something else",))
    leaving.start()
    leaving.join(0.2)
    assert leaving.is_alive()
    ended.set()
    leaving.join(10)
    assert not leaving.is_alive()


def test_a_worker_that_is_done_alarms_nobody(join):
    workers, heard = join(timeout_seconds=0.4)
    for each in workers:
        each.leave()
    time.sleep(0.6)
    assert heard[0].empty() and heard[1].empty()


def test_workers_that_work_alarm_nobody(join):
    """Heartbeats continue while another thread keeps the interpreter busy."""
    _, heard = join(3, timeout_seconds=0.4)
    until = time.monotonic() + 0.8
    while time.monotonic() < until:
        sum(range(1000))
    assert all(each.empty() for each in heard)


class _Silent(Line):
    """A line that sends nothing, as when the machine or the network has failed."""

    def send(self, message):
        pass


@pytest.mark.parametrize("silent", [0, 1])
def test_a_silent_worker_is_named_in_time_also_to_itself(silent):
    lines = [Line(each) for each in socket.socketpair()]
    lines[silent].__class__ = _Silent
    heard = [queue.Queue(), queue.Queue()]
    begin = time.monotonic()
    for index in range(2):
        Workers(index, ADDRESSES[:2], {1 - index: lines[index]}, 0.3, heard[index].put)
    expected = (
        f"worker {silent} ({ADDRESSES[silent]}) sent no heartbeat for 0.3 s; kill it if it still "
        f"exists, and {AGAIN}"
    )
    assert heard[1 - silent].get(timeout=10) == expected
    assert 0.3 <= time.monotonic() - begin < 5
    assert (
        heard[silent].get(timeout=10) == expected
    )  # a suspended worker learns of it when it resumes


def test_all_others_learn_of_a_silent_worker(join):
    (chief, first, second), heard = join(3, timeout_seconds=0.3)
    second._leaving.set()  # its heartbeats end, its connections stay open
    expected = "worker 2 (three:3) sent no heartbeat for 0.3 s; kill it if it still exists, "
    for index in (0, 1):
        assert heard[index].get(timeout=10) == expected + f"and {AGAIN}"


@pytest.mark.parametrize("said", [b"[1]\n", b"{\n", b"\xff\n"])
def test_a_line_that_carries_something_else_ends(said):
    ours, theirs = socket.socketpair()
    heard = queue.Queue()
    Workers(0, ADDRESSES[:2], {1: Line(ours)}, 10.0, heard.put)
    theirs.sendall(b'{"news": 1}\n' + said)  # an unknown message of a later version is ignored
    assert heard.get(timeout=10) == f"worker 1 (two:2) stopped; {AGAIN}"
    theirs.close()


_DYING = """
import importlib.machinery, importlib.util, signal, sys
import lbkeras  # then only modules of lbkeras.distribution that don't load TensorFlow (3 s)
spec = importlib.machinery.ModuleSpec("lbkeras.distribution", None, is_package=True)
spec.submodule_search_locations = [lbkeras.__path__[0] + "/distribution"]
sys.modules[spec.name] = importlib.util.module_from_spec(spec)
from lbkeras.distribution.rendezvous import meet
meet(sys.argv[3:], int(sys.argv[1]), {}, float(sys.argv[2]), print)
print("met", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def start():
    """A function: starts a worker in another process, which prints that it met the others."""
    started = []

    def run(index, timeout_seconds, addresses):
        arguments = map(str, [index, timeout_seconds, *addresses])
        command = [sys.executable, "-c", _DYING, *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def other(start):
    """A function: starts such a worker and meets it; returns it, its queue and its name."""

    def run(index, timeout_seconds):
        addresses = reserve_addresses(2)
        process = start(index, timeout_seconds, addresses)
        heard = queue.Queue()
        meet(addresses, 1 - index, {}, timeout_seconds, heard.put)
        assert process.stdout.readline() == "met\n"
        return process, heard, f"worker {index} ({addresses[index]})"

    return run


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_is_noticed_at_once(victim, other):
    process, heard, name = other(victim, 60)
    process.kill()
    begin = time.monotonic()
    assert heard.get(timeout=20) == f"{name} stopped; {AGAIN}"
    assert time.monotonic() - begin < 5


@pytest.mark.slow
def test_a_stopped_worker_is_noticed_after_the_stated_time_and_a_pause_does_no_harm(other):
    process, heard, name = other(1, 2)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.3)
    process.send_signal(signal.SIGCONT)
    time.sleep(1)
    assert heard.empty()
    process.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    assert heard.get(timeout=30).startswith(f"{name} sent no heartbeat for 2 s; kill it if")
    assert 1.5 < time.monotonic() - begin < 10


@pytest.mark.slow
def test_workers_that_pause_together_miss_nobody(start):
    """As when their shell is suspended: each finds that time has passed without the other."""
    addresses = reserve_addresses(2)
    both = [start(index, 1, addresses) for index in range(2)]
    for each in both:
        assert each.stdout.readline() == "met\n"
    for number, order in ((signal.SIGSTOP, both), (signal.SIGCONT, both[::-1])):
        for each in order:
            each.send_signal(number)
            time.sleep(0.25)
        time.sleep(1.3)
    for each in both:  # so that neither reports the end of the other
        each.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, each.pid, os.WSTOPPED)  # a busy thread stops some time after the signal
    for each in both:
        each.kill()
    assert [each.communicate()[0] for each in both] == ["", ""]
