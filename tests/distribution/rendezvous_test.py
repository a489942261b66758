"""Workers meet and agree, or all report the same error; strangers cannot join or disturb them."""

import concurrent.futures
import contextlib
import json
import socket
import threading
import time

import pytest

import lbkeras
from lbkeras.distribution import rendezvous, sealing
from lbkeras.distribution.line import Line
from lbkeras.distribution.rendezvous import meet
from lbkeras.errors import UserError
from tests.ports import reserve_addresses


@pytest.fixture
def impatient(monkeypatch):
    """Shortens the waits, for tests that run into them; in other tests they must not matter."""
    monkeypatch.setattr(rendezvous, "_SECONDS_FOR_THE_LATE", 0.5)
    monkeypatch.setattr(rendezvous, "_SECONDS_TO_GREET", 0.5)


@pytest.fixture
def addresses():
    """Three addresses on this machine with free ports."""
    return reserve_addresses(3)


@pytest.fixture
def gather(addresses):
    """Runs `meet` in a thread for each worker; returns what each returned, or its error."""

    def run(*workers, number=None, timeout_seconds=10.0):
        def one(worker):
            if "after" in worker:
                worker["after"].join()
            settings = {"seed": 0} | worker.get("settings", {})
            seen = worker.get("addresses", addresses[: number or len(workers)])
            try:
                token = worker.get("token", "")
                return meet(seen, worker["index"], settings, timeout_seconds, token=token)
            except UserError as error:
                return str(error)

        with concurrent.futures.ThreadPoolExecutor(len(workers)) as pool:
            return list(pool.map(one, workers))

    return run


def test_the_ports_are_free_again(gather, addresses):
    workers = gather(dict(index=0), dict(index=1))
    for address in addresses[:2]:  # TensorFlow's servers use them while the connections last
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


def test_an_index_taken_twice(gather, addresses, impatient):
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


def test_a_port_in_use_is_named_after_the_others_have_met(addresses, impatient):
    taken = [socket.create_server(("", int(each.split(":")[1]))) for each in addresses[:2]]
    try:
        with pytest.raises(UserError) as error:
            meet(addresses[:2], 1, {})
    finally:
        for each in taken:
            each.close()
    assert str(error.value).startswith(f"worker 1 ({addresses[1]}): expected a port that is free")


def greeting(addresses, **changed):
    """Returns worker 1's greeting, by default with another config than the chief's."""
    version = {"lbkeras version": lbkeras.__version__}
    said = {"index": 1, "workers": addresses[:2], "settings": {"seed": 9}, "nonce": "0" * 32}
    return version | said | changed


def connected(address):
    """Connects to an address as soon as a process listens there."""
    host, port = address.split(":")
    for _ in range(500):
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection((host, int(port)))
        time.sleep(0.01)
    raise AssertionError(f"nobody listens on {address}")


def say(address, message, key=b""):
    """Sends one message as a stranger; returns what the chief answers before it hangs up."""
    connection = connected(address)
    line = Line(connection)
    asked = line.receive(5)
    if isinstance(message, dict):
        message = sealing.sealed(key, "worker", asked["nonce"], message)
        line.send(message)
    else:
        connection.sendall(message)
    try:
        return line.receive(5)
    except ConnectionError:
        return None
    finally:
        line.close()


STRANGERS = {
    "another protocol": b"GET / HTTP/1.0\r\n\r\n",
    "no object": b"[]\n",
    "no proof": b'{"index": 1}\n',
    "a proof of another kind": b'{"said": "{}", "proof": 3}\n',
    "a proof in other letters": '{"said": "{}", "proof": "é"}\n'.encode(),
    "deep": b"[" * 100_000 + b"\n",
    "no text": b"\xff\xfe\n",
    "nothing": {},
    "an index of another type": {"index": [1]},
    "a truth as index": {"index": True},
    "an index out of range": {"index": 2},
    "an index below": {"index": -1},
    "workers of another type": {"workers": "a:1"},
    "workers of other types": {"workers": [1, 2]},
    "settings of another type": {"settings": [1]},
    "an error of another type": {"error": {"a": 1}},
    "no nonce": {"nonce": None},
}


def test_malformed_greetings_disturb_nobody(gather, addresses):
    def strangers():
        for name, said in STRANGERS.items():
            if name != "nothing" and isinstance(said, dict):
                said = greeting(addresses, **said)
            assert say(addresses[0], said) is None, name
        heard.set()

    heard = threading.Event()
    thread = threading.Thread(target=strangers)
    thread.start()
    chief, other = gather(dict(index=0), dict(index=1, after=thread))
    assert heard.is_set() and chief.is_chief and not other.is_chief
    for each in (chief, other):
        each.leave()


def test_connections_that_say_nothing_block_nobody(gather, addresses):
    silent = []

    def strangers():
        for _ in range(2 * rendezvous._MOST_STRANGERS):
            silent.append(connected(addresses[0]))
            silent[-1].sendall(b'{"said')
        silent[0].settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            while silent[0].recv(100):  # the oldest are dropped, so that descriptors stay free
                pass

    thread = threading.Thread(target=strangers)
    thread.start()
    begin = time.monotonic()
    for each in gather(dict(index=0), dict(index=1, after=thread)):
        each.leave()
    assert time.monotonic() - begin < rendezvous._SECONDS_TO_GREET
    for each in silent:
        each.close()


def test_a_connection_that_dribbles_moves_no_deadline(addresses):
    def dribble():
        connection = connected(addresses[0])
        with contextlib.suppress(OSError):
            for _ in range(200):
                connection.sendall(b"x")
                time.sleep(0.02)

    thread = threading.Thread(target=dribble)
    thread.start()
    begin = time.monotonic()
    with pytest.raises(UserError, match="within 0.4 s, received nothing"):
        meet(addresses[:2], 0, {}, timeout_seconds=0.4)
    assert time.monotonic() - begin < 3
    thread.join()


def test_a_slow_greeting_is_dropped_in_time(gather, addresses, monkeypatch):
    monkeypatch.setattr(rendezvous, "_SECONDS_TO_GREET", 0.1)
    ended = threading.Event()

    def stranger():
        with connected(addresses[0]) as connection:
            connection.settimeout(5)
            while connection.recv(100):
                pass
            ended.set()

    thread = threading.Thread(target=stranger)
    thread.start()
    for each in gather(dict(index=0), dict(index=1, after=thread)):
        each.leave()
    assert ended.is_set()


def test_a_line_without_end_is_dropped(gather, addresses, monkeypatch):
    monkeypatch.setattr(rendezvous.Line.__init__, "__defaults__", (1000,))
    said = []
    thread = threading.Thread(target=lambda: said.append(say(addresses[0], b"x" * 1001)))
    thread.start()
    for each in gather(dict(index=0), dict(index=1, after=thread)):
        each.leave()
    assert said == [None]


def test_a_worker_that_is_started_again_during_the_meeting(gather, addresses):
    def first():
        line = Line(connected(addresses[0]))
        nonce = line.receive(5)["nonce"]
        settings = {"seed": 0}
        hello = greeting(addresses, workers=addresses[:3], settings=settings)
        line.send(sealing.sealed(b"", "worker", nonce, hello))
        time.sleep(0.1)
        line.close()  # ended by hand

    thread = threading.Thread(target=first)
    thread.start()
    for each in gather(dict(index=0), dict(index=1, after=thread), dict(index=2, after=thread)):
        each.leave()


def test_the_chief_listens_on_its_own_address_only(addresses):
    """On Linux 127.0.0.2 is this machine too, as is all of 127.0.0.0/8."""
    port = int(addresses[0].split(":")[1])
    seen = [f"127.0.0.2:{port}", addresses[1]]
    chief = threading.Thread(target=lambda: pytest.raises(UserError, meet, seen, 0, {}, 0.5))
    chief.start()
    connected(seen[0]).close()
    for host in ("127.0.0.1", "127.0.0.3", "::1"):
        with pytest.raises(OSError, match="refused|assign"):
            socket.create_connection((host, port), timeout=1)
    chief.join()


def test_other_workers_listen_on_no_address(addresses):
    worker = threading.Thread(target=lambda: pytest.raises(UserError, meet, addresses, 1, {}, 0.3))
    worker.start()
    for _ in range(10):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(addresses[1].split(":")[1])), timeout=1)
        time.sleep(0.02)
    worker.join()


@pytest.mark.parametrize(
    "host, received",
    [("192.0.2.1", "Cannot assign requested address"), ("no.such.host.invalid", ".*")],
)
def test_a_chief_whose_address_is_elsewhere(addresses, host, received):
    address = f"{host}:{addresses[0].split(':')[1]}"
    with pytest.raises(UserError) as error:
        meet([address, addresses[1]], 0, {}, timeout_seconds=5)
    start = f"worker 0 ({address}): expected an address of this machine, received: "
    assert str(error.value).startswith(start)
    assert received in (str(error.value).removeprefix(start), ".*")


def test_a_name_with_only_loopback_addresses_is_reported(addresses, monkeypatch):
    getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr(  # as in Debian's /etc/hosts
        socket, "getaddrinfo", lambda host, *a, **k: getaddrinfo("127.0.1.1", *a, **k)
    )
    with pytest.raises(UserError) as error:
        meet([f"node1:{addresses[0].split(':')[1]}", "node2:1"], 0, {}, timeout_seconds=0.1)
    assert str(error.value).endswith(
        "with the same --workers? (here node1 is 127.0.1.1, which other machines cannot reach)"
    )


TOKEN = "a secret of two"


def test_workers_with_the_same_token_meet(gather):
    for each in gather(dict(index=0, token=TOKEN), dict(index=1, token=TOKEN)):
        assert not isinstance(each, str), each
        each.leave()


@pytest.mark.parametrize("tokens", [(TOKEN, "another"), (TOKEN, ""), ("", TOKEN)])
def test_workers_with_different_tokens_do_not_meet(gather, addresses, tokens):
    chief, other = gather(
        *(dict(index=index, token=token) for index, token in enumerate(tokens)), timeout_seconds=0.5
    )
    names = [f"worker {i} ({addresses[i]})" for i in range(2)]
    assert chief == (
        f"{names[1]}: expected to connect to {names[0]} within 0.5 s, received greetings with "
        "another token; is it started, and with the same --workers?"
    )
    assert other == (
        f"{names[1]}: expected the token of {names[0]}, received another; give both the same "
        "--token_file or LBKERAS_TOKEN"
    )


def test_a_stranger_without_the_token_stops_no_meeting(gather, addresses):
    said = []
    thread = threading.Thread(
        target=lambda: said.append(say(addresses[0], greeting(addresses, error="all is lost")))
    )
    thread.start()
    workers = [dict(index=0, token=TOKEN), dict(index=1, token=TOKEN, after=thread)]
    for each in gather(*workers):
        assert not isinstance(each, str), each
        each.leave()
    assert said == [{"refused": "token"}]


def test_a_replayed_greeting_is_refused(gather, addresses):
    overheard = sealing.sealed(TOKEN.encode(), "worker", "0" * 32, greeting(addresses))
    said = []
    thread = threading.Thread(
        target=lambda: said.append(say(addresses[0], json.dumps(overheard).encode() + b"\n"))
    )
    thread.start()
    for each in gather(dict(index=0, token=TOKEN), dict(index=1, token=TOKEN, after=thread)):
        each.leave()
    assert said == [{"refused": "token"}]
    assert TOKEN not in json.dumps(overheard)


def test_a_chief_without_the_token_is_not_believed(addresses):
    def serve():
        with socket.create_server(("127.0.0.1", int(addresses[0].split(":")[1]))) as server:
            line = Line(server.accept()[0])
            line.send({"protocol": sealing.PROTOCOL, "nonce": "0" * 32})
            said = json.loads(line.receive(5)["said"])
            line.send(sealing.sealed(b"", "chief", said["nonce"], {"error": "\x1b[2Jgo away"}))

    server = threading.Thread(target=serve)
    server.start()
    with pytest.raises(UserError, match="expected the token of worker 0 .* received another"):
        meet(addresses[:2], 1, {}, timeout_seconds=3, token=TOKEN)
    server.join()


def test_what_a_worker_says_is_shown_as_one_line(gather, addresses):
    settings = {"seed\x1b[2J\n\ud800": "x" * 9000}
    said = gather(dict(index=0), dict(index=1, settings=settings))
    assert said[0] == said[1]
    assert said[0].isprintable() and len(said[0]) <= 4000
