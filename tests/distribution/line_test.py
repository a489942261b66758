"""Messages over a connection arrive whole, in order and in time; anything else ends it."""

import json
import socket
import threading
import time

import pytest

from lbkeras.distribution.line import Line, host_and_port, parsed


@pytest.fixture
def pair():
    """A Line, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    line = Line(ours, longest=100_000)
    yield line, theirs
    line.close()
    theirs.close()


def test_messages_come_whole_and_in_order(pair):
    line, theirs = pair
    theirs.sendall(b'{"a": 1}\n{"b": 2}\n{"c"')
    assert [line.receive(1), line.receive(1)] == [{"a": 1}, {"b": 2}]
    with pytest.raises(TimeoutError):
        line.receive(0.01)
    theirs.sendall(b": 3}\n")  # the part received before is not lost
    assert line.receive(1) == {"c": 3}


def test_messages_of_several_threads_are_not_mixed(pair):
    line, theirs = pair
    text = "x" * 900_000  # more than fits into the connection
    threads = [threading.Thread(target=line.send, args=({"text": text},)) for _ in range(4)]
    for each in threads:
        each.start()
    other = Line(theirs)
    assert [other.receive(5) for _ in range(4)] == [{"text": text}] * 4
    for each in threads:
        each.join()


def test_slow_bytes_do_not_extend_the_deadline(pair):
    line, theirs = pair

    ended = threading.Event()

    def dribble():
        for _ in range(200):
            theirs.sendall(b"x")
            if ended.wait(0.02):
                return

    thread = threading.Thread(target=dribble)
    thread.start()
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        line.receive(0.1)
    assert time.monotonic() - begin < 2  # a loaded machine may stop it for a while
    ended.set()
    thread.join()


@pytest.mark.parametrize(
    "said", [b"[]\n", b"3\n", b"{\n", b"\xff\n", b"[" * 99_000 + b"\n", b"x" * 100_001]
)
def test_anything_but_a_message_ends_the_line(pair, said):
    line, theirs = pair
    thread = threading.Thread(target=theirs.sendall, args=(said,))
    thread.start()
    with pytest.raises(ConnectionError):
        line.receive(5)
    thread.join()


def test_the_end_of_the_line(pair):
    line, theirs = pair
    theirs.sendall(b'{"last": 1}\n')
    theirs.close()
    assert line.receive(1) == {"last": 1}
    with pytest.raises(ConnectionError):
        line.receive(1)
    line.send({"into": "nothing"})
    line.send({"into": "nothing"})


def test_end_says_that_nothing_more_comes(pair):
    line, theirs = pair
    line.send({"last": 1})
    line.end()
    theirs.settimeout(5)
    assert theirs.recv(100) + theirs.recv(100) == json.dumps({"last": 1}).encode() + b"\n"


@pytest.mark.parametrize(
    "address, expected", [("10.0.0.1:2222", ("10.0.0.1", 2222)), ("[::1]:80", ("::1", 80))]
)
def test_host_and_port(address, expected):
    assert host_and_port(address) == expected


def test_parsed():
    assert parsed('{"a": 1}') == {"a": 1}
    assert parsed("[]") is parsed("{") is parsed("[" * 100_000) is None
