"""Workers meet, agree or all learn what is wrong, and notice when one of them stops."""

import concurrent.futures
import contextlib
import json
import queue
import socket
import subprocess
import sys
import threading
import time

import pytest

from lbkeras.distribution import rendezvous
from lbkeras.distribution.rendezvous import _listener, meet
from lbkeras.errors import UserError
from tests.ports import reserve_addresses


@pytest.fixture
def impatient(monkeypatch):
    """For tests in which somebody is waited for in vain; in all others nobody must be too late."""
    monkeypatch.setattr(rendezvous, "_SECONDS_FOR_THE_LATE", 0.5)


@pytest.fixture
def addresses():
    """Three addresses on this machine whose ports are free."""
    return reserve_addresses(3)


@pytest.fixture
def gather(addresses):
    """Runs `meet` in a thread for each worker; returns what each returned or said."""

    def run(*workers, number=None, timeout_seconds=10.0):
        def one(worker):
            if "after" in worker:
                worker["after"].join()
            settings = {"seed": 0} | worker.get("settings", {})
            seen = worker.get("addresses", addresses[: number or len(workers)])
            try:
                return meet(seen, worker["index"], settings, timeout_seconds, worker.get("on_stop"))
            except UserError as error:
                return str(error)

        with concurrent.futures.ThreadPoolExecutor(len(workers)) as pool:
            return list(pool.map(one, workers))

    return run


def test_all_get_what_the_chief_shares(gather):
    chief, first, second = gather(dict(index=0), dict(index=1), dict(index=2))
    assert [w.is_chief for w in (chief, first, second)] == [True, False, False]
    assert chief.share({"status": "finished"}) == {"status": "finished"}
    assert first.share() == second.share() == {"status": "finished"}
    for each in (first, chief, second):
        each.leave()


def test_the_ports_are_free_again(gather, addresses):
    workers = gather(dict(index=0), dict(index=1))
    for address in addresses[:2]:  # TensorFlow's servers take them while the lines stand
        socket.create_server(("", int(address.split(":")[1]))).close()
    for each in workers:
        each.leave()


def test_different_configs_name_the_first_key_and_both_values_everywhere(gather, addresses):
    settings = {"plan.momentum": 0.9, "plan.epochs": 3}
    said = gather(
        dict(index=0, settings=settings),
        dict(index=1, settings=settings | {"plan.momentum": 0.8, "plan.epochs": 4}),
        dict(index=2, settings=settings),
    )
    assert (
        said
        == [
            f"worker 1 ({addresses[1]}): expected the config of worker 0 (plan.momentum=0.9), "
            "received plan.momentum=0.8"
        ]
        * 3
    )


def test_a_missing_worker_is_named_after_the_stated_time(gather, addresses):
    begin = time.monotonic()
    said = gather(dict(index=0), dict(index=1), number=3, timeout_seconds=2.0)
    assert time.monotonic() - begin < 10
    assert (
        said[0]
        == said[1]
        == (
            f"worker 2 ({addresses[2]}): expected to connect to worker 0 ({addresses[0]}) within "
            "2 s, received nothing; is it started, and with the same --workers?"
        )
    )


def test_a_missing_chief_is_named_after_the_stated_time(addresses):
    with pytest.raises(UserError) as error:
        meet(addresses, 1, {}, timeout_seconds=0.5)
    assert str(error.value) == (
        f"worker 1 ({addresses[1]}): expected worker 0 ({addresses[0]}) to answer within 0.5 s, "
        "received: Connection refused; is it started, and with the same --workers?"
    )


def test_an_index_taken_twice(gather, addresses, monkeypatch, impatient):
    free = contextlib.nullcontext()  # as on two machines, where each has the port to itself
    monkeypatch.setattr(rendezvous, "_listener", lambda a, i: _listener(a, i) if i == 0 else free)
    said = gather(dict(index=0), dict(index=1), dict(index=1), number=3)
    assert (
        said
        == [f"worker 1 ({addresses[1]}): expected one process with this worker index, received two"]
        * 3
    )


def test_different_lists_of_workers(gather, addresses):
    said = gather(dict(index=0), dict(index=1, addresses=addresses[:2] + ["elsewhere:1"]))
    assert (
        said
        == [
            f"worker 1: expected workers {addresses[0]},{addresses[1]} (worker 0's), received "
            f"{addresses[0]},{addresses[1]},elsewhere:1"
        ]
        * 2
    )


def in_use(worker, addresses):
    return (
        f"worker {worker} ({addresses[worker]}): expected a port that is free on this machine, "
        "received: Address already in use"
    )


def test_the_chiefs_port_in_use_is_named(gather, addresses, impatient):
    with socket.create_server(("", int(addresses[0].split(":")[1]))):
        said = gather(dict(index=0), dict(index=1), timeout_seconds=1.0)
    assert said[0] == in_use(0, addresses)


def test_a_port_in_use_is_named_and_the_chief_learns_it(gather, addresses):
    with socket.create_server(("", int(addresses[1].split(":")[1]))):
        said = gather(dict(index=0), dict(index=1))
    assert said == [in_use(1, addresses)] * 2


def test_a_port_in_use_is_named_where_the_others_have_met(addresses, impatient):
    taken = [socket.create_server(("", int(each.split(":")[1]))) for each in addresses[:2]]
    try:
        with pytest.raises(UserError) as error:
            meet(addresses[:2], 1, {})
    finally:
        for each in taken:
            each.close()
    assert str(error.value).startswith(f"worker 1 ({addresses[1]}): expected a port that is free")


def test_connections_of_others_are_passed_over(gather, addresses):
    said = [b"GET / HTTP/1.0\r\n\r\n", b'{"index": "x"}\n', b'{"index": 1}\n', b"[]\n"]
    everyone = {"workers": addresses[:2], "lbkeras version": "0", "settings": {}}
    said.append(json.dumps(everyone | {"index": [1]}).encode() + b"\n")
    strangers = threading.Thread(target=_say, args=(addresses[0], said))
    strangers.start()
    chief, other = gather(dict(index=0), dict(index=1, after=strangers))
    assert chief.is_chief and not other.is_chief
    for each in (chief, other):
        each.leave()


def _say(address, messages):
    """Each message to that address, as soon as somebody listens there, in a line of its own."""
    host, port = address.split(":")
    for message in messages:
        for _ in range(200):
            with contextlib.suppress(ConnectionRefusedError):
                with socket.create_connection((host, int(port))) as line:
                    line.sendall(message)
                    line.recv(1)  # closed
                break
            time.sleep(0.02)


def test_a_worker_that_gives_up_says_why_to_all(gather, addresses):
    heard = queue.Queue()
    _, first, _ = gather(*(dict(index=i, on_stop=heard.put) for i in range(3)))
    first.leave("data set 'mnist' is not on disk")
    expected = f"worker 1 ({addresses[1]}) stopped: data set 'mnist' is not on disk"
    assert [heard.get(timeout=10), heard.get(timeout=10)] == [expected] * 2


def test_a_worker_that_ends_another_does_not_let_it_say_something_else(gather):
    began, ended = threading.Event(), threading.Event()

    def end(sentence):
        began.set()
        ended.wait(10)

    first, second = gather(dict(index=0, on_stop=end), dict(index=1))
    second.leave("it has no data")
    assert began.wait(10)
    leaving = threading.Thread(target=first.leave, args=("something else",))
    leaving.start()
    leaving.join(0.2)
    assert leaving.is_alive()
    ended.set()
    leaving.join(10)
    assert not leaving.is_alive()


def test_a_worker_that_is_done_alarms_nobody(gather):
    heard = queue.Queue()
    for each in gather(*(dict(index=i, on_stop=heard.put) for i in range(2))):
        each.leave()
    time.sleep(0.2)
    assert heard.empty()


_DYING = """
import importlib.machinery, importlib.util, signal, sys
import lbkeras  # and of lbkeras.distribution what needs no TensorFlow, which takes 3 s to load
spec = importlib.machinery.ModuleSpec("lbkeras.distribution", None, is_package=True)
spec.submodule_search_locations = [lbkeras.__path__[0] + "/distribution"]
sys.modules[spec.name] = importlib.util.module_from_spec(spec)
from lbkeras.distribution.rendezvous import meet
meet(sys.argv[2:], int(sys.argv[1]), {})
print("met", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_is_noticed_at_once(victim, addresses):
    heard = queue.Queue()
    process = subprocess.Popen(
        [sys.executable, "-c", _DYING, str(victim), *addresses[:2]], stdout=subprocess.PIPE
    )
    try:
        meet(addresses[:2], 1 - victim, {}, 60, heard.put)
        process.stdout.readline()
        process.kill()
        begin = time.monotonic()
        assert heard.get(timeout=20) == (
            f"worker {victim} ({addresses[victim]}) stopped; run the same command again on every "
            "worker to go on from the last checkpoint"
        )
        assert time.monotonic() - begin < 5
    finally:
        process.kill()
        process.communicate()
