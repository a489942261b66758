"""Several workers meet before TensorFlow starts, and notice later when one of them stops."""

import contextlib
import json
import os
import queue
import socket
import threading
import time

import lbkeras
from lbkeras.errors import UserError

_SECONDS_BETWEEN_TRIES = 0.2
_SECONDS_FOR_THE_LATE = 5.0  # once something is wrong, so that everyone is told what


class Workers:
    """The processes that train one model together: a line from the chief to each of the others.

    `meet` makes it. Worker 0 is the chief. Each process watches its lines: when another one dies,
    its line breaks at once (within about 40 s if its machine is gone), and `on_stop` is called with
    a sentence.

    Attributes:
        index: of this worker, from 0.
        addresses: `host:port` of each worker.
    """

    def __init__(self, index: int, addresses, lines: dict, on_stop):
        self.index = index
        self.addresses = list(addresses)
        self._lines = lines  # the other worker -> _Line
        self._on_stop = on_stop
        self._shared = queue.Queue()
        self._stopping = threading.RLock()
        self._leaving = False
        for other, line in self._lines.items():
            threading.Thread(target=self._watch, args=(other, line), daemon=True).start()

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def share(self, value=None):
        """The chief's `value`, which JSON can hold, in every worker; all must call it."""
        if not self.is_chief:
            return self._shared.get()
        for line in self._lines.values():
            line.send({"value": value})
        return value

    def leave(self, message: str | None = None) -> None:
        """Closes the lines at the end.

        Args:
            message: why this worker stops before its work is done; the others then stop too. None:
                the work is done.
        """
        with self._stopping:
            self._leaving = True
        for line in self._lines.values():
            line.send({"done": True} if message is None else self._stopped(self.index, message))
            line.close()

    def _watch(self, other: int, line) -> None:
        while True:
            received = line.receive() or self._stopped(other)
            if "value" in received:
                self._shared.put(received["value"])
                continue
            with self._stopping:
                if self._leaving or "done" in received:
                    return
                self._leaving = True
                for each, its_line in self._lines.items():
                    if each != other:
                        its_line.send(received)
                if self._on_stop is not None:  # `leave` waits: one of the two says why
                    self._on_stop(received["stopped"])
            return

    def _stopped(self, index: int, message: str | None = None) -> dict:
        advice = "run the same command again on every worker to go on from the last checkpoint"
        because = f": {message}" if message else f"; {advice}"
        return {"stopped": f"worker {index} ({self.addresses[index]}) stopped{because}"}


def meet(
    addresses,
    index: int,
    settings: dict,
    timeout_seconds: float = 60.0,
    on_stop=None,
) -> Workers:
    """Waits until all workers are there and agree, then frees their ports for TensorFlow.

    The chief listens on its own address, the others connect to it; each also holds its own port
    for that time. The chief compares what they say and answers all of them, so that every process
    ends with the same sentence if something is wrong.

    Args:
        addresses: `host:port` of each worker, the chief's first.
        index: of this worker, 0 to `len(addresses) - 1`.
        settings: what must be the same in all of them: names to values that JSON can hold.
        timeout_seconds: how long to wait for the others.
        on_stop: called from a thread with a sentence that names a worker which stopped later.

    Raises:
        UserError: the port is in use, a worker is missing when the time is over, an index is taken
            twice, or workers differ in addresses, version or settings (the first is named).
    """
    deadline = time.monotonic() + timeout_seconds
    mine = {
        "index": index,
        "workers": list(addresses),
        "lbkeras version": lbkeras.__version__,
        "settings": settings,
    }
    mine = json.loads(json.dumps(mine))
    try:
        with _listener(addresses, index) as listener:
            if index == 0:
                lines = _gather(listener, mine, deadline, timeout_seconds)
            else:
                lines = {0: _call(mine, deadline, timeout_seconds)}
    except _PortInUse as error:
        if index:  # the chief, if it still waits, tells the others
            with contextlib.suppress(UserError):
                _call(mine | {"error": str(error)}, time.monotonic() + _SECONDS_FOR_THE_LATE, 0)
        raise UserError(str(error)) from None
    return Workers(index, addresses, lines, on_stop)


class _PortInUse(UserError):
    pass


def _gather(listener, mine: dict, deadline: float, timeout_seconds: float) -> dict:
    """The chief's side: the lines to all others, after it has answered them."""
    addresses = mine["workers"]
    lines, strangers, error = {}, [], None
    while len(lines) < len(addresses) - 1:
        listener.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            line = _Line(listener.accept()[0])
        except TimeoutError:
            break
        hello = line.receive(seconds=_SECONDS_FOR_THE_LATE)
        if not _is_a_worker(hello, mine):
            line.close()  # somebody else's connection
            continue
        wrong = _what_is_wrong(hello, mine, lines)
        if wrong is None or hello["index"] not in [*lines, 0]:
            lines[hello["index"]] = line
        else:
            strangers.append(line)
        if wrong and not error:
            error = wrong
            deadline = min(deadline, time.monotonic() + _SECONDS_FOR_THE_LATE)
    missing = [i for i in range(1, len(addresses)) if i not in lines]
    if missing and not error:
        names = " and ".join(f"worker {i} ({addresses[i]})" for i in missing)
        error = (
            f"{names}: expected to connect to worker 0 ({addresses[0]}) within "
            f"{timeout_seconds:g} s, received nothing; is it started, and with the same --workers?"
        )
    for line in [*lines.values(), *strangers]:
        line.send({"error": error} if error else {"ok": True})
    if error:
        raise UserError(error)
    return lines


def _is_a_worker(hello, mine: dict) -> bool:
    """Whether what a connection says first is what a worker says."""
    return isinstance(hello, dict) and mine.keys() <= hello.keys() and type(hello["index"]) is int


def _what_is_wrong(hello: dict, mine: dict, lines: dict) -> str | None:
    """What keeps a worker that connected to the chief from taking part; None: nothing."""
    if "error" in hello:
        return hello["error"]
    index, addresses = hello["index"], mine["workers"]
    for key in ("workers", "lbkeras version"):
        if hello[key] != mine[key]:
            shown = [",".join(v) if isinstance(v, list) else v for v in (mine[key], hello[key])]
            return f"worker {index}: expected {key} {shown[0]} (worker 0's), received {shown[1]}"
    name = f"worker {index} ({addresses[index]})"
    if index in [*lines, 0]:
        return f"{name}: expected one process with this worker index, received two"
    for key in {**mine["settings"], **hello["settings"]}:
        expected, received = (each["settings"].get(key) for each in (mine, hello))
        if expected != received:
            return (
                f"{name}: expected the config of worker 0 ({key}={expected!r}), "
                f"received {key}={received!r}"
            )
    return None


def _call(mine: dict, deadline: float, timeout_seconds: float):
    """Another worker's side: its line to the chief, once the chief has said yes."""
    index, addresses = mine["index"], mine["workers"]
    problem = "no answer"
    while (left := deadline - time.monotonic()) > 0:
        line = None
        try:
            line = _Line(socket.create_connection(_host_and_port(addresses[0]), timeout=left))
            line.send(mine)
            left = deadline - time.monotonic()  # the chief answers when its own time is over
            answer = line.receive(seconds=max(left, 0) + 2 * _SECONDS_FOR_THE_LATE)
        except OSError as error:
            answer, problem = None, error.strerror or str(error)
        if isinstance(answer, dict) and "error" in answer:
            raise UserError(answer["error"])
        if isinstance(answer, dict) and "ok" in answer:
            return line
        if line is not None:
            line.close()
        time.sleep(_SECONDS_BETWEEN_TRIES)
    raise UserError(
        f"worker {index} ({addresses[index]}): expected worker 0 ({addresses[0]}) to answer within "
        f"{timeout_seconds:g} s, received: {problem}; is it started, and with the same --workers?"
    )


def _listener(addresses, index: int) -> socket.socket:
    """Takes the worker's own port on all of its addresses, as TensorFlow's server will."""
    port = _host_and_port(addresses[index])[1]
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise _PortInUse(
            f"worker {index} ({addresses[index]}): expected a port that is free on this machine, "
            f"received: {os.strerror(error.errno)}"
        ) from None


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class _Line:
    """A connection that carries JSON objects, one a line."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):  # without them a machine that vanishes is noticed late
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._reader = connection.makefile("rb")

    def send(self, message: dict) -> None:
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # the other is gone, which its line's end says

    def receive(self, seconds: float | None = None):
        """The next message; None at the line's end, where it is no JSON, and after the time."""
        self._connection.settimeout(seconds)
        try:
            return json.loads(self._reader.readline() or "null")
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
