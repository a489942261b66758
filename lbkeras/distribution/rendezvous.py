"""Several workers meet before TensorFlow starts: they agree, or all report the same error."""

import contextlib
import json
import secrets
import selectors
import socket
import time

import lbkeras
from lbkeras.distribution.line import Line, host_and_port
from lbkeras.distribution.ports import PortInUse, listeners_of, port_held, unreachable
from lbkeras.distribution.sealing import PROTOCOL, OtherToken, opened, sealed
from lbkeras.distribution.workers import Workers
from lbkeras.errors import UserError, one_line

_SECONDS_BETWEEN_TRIES = 0.2
_SECONDS_TO_CONNECT = 5.0
_SECONDS_TO_GREET = 5.0
_SECONDS_FOR_THE_LATE = 5.0  # after an error, so that late workers are told of it too
_LONGEST_ERROR = 4000  # characters
_MOST_STRANGERS = 16  # connections that have not greeted; beyond it the oldest is dropped


def meet(
    addresses,
    index: int,
    settings: dict,
    timeout_seconds: float = 60.0,
    on_stop=None,
    token: str = "",
) -> Workers:
    """Waits until all workers have connected and agree, then frees their ports for TensorFlow.

    The chief listens on its own address only, and the other workers connect to it. Meanwhile each
    worker also holds its own port. The chief compares the workers' greetings and answers all of
    them, so that in case of an error every process ends with the same message. With a token, each
    side proves to the other that it has the token by an HMAC-SHA256 of numbers that are used once;
    the token itself is never sent. A connection without a worker's greeting is closed.

    Args:
        addresses: `host:port` of each worker, the chief's first.
        index: this worker's index, 0 to `len(addresses) - 1`.
        settings: names and values that must be the same in all workers; must be valid JSON.
        timeout_seconds: how long to wait for the others, and later for a worker's next heartbeat.
        on_stop: called from a thread with a sentence that names a worker that stopped later.
        token: the secret that all workers share. Empty: any connection with a worker's greeting is
            accepted.

    Returns:
        The `Workers`, connected to each other.

    Raises:
        UserError: the port is in use, the chief's address is not one of this machine, a worker is
            missing after the timeout, an index is used twice, or workers differ in token,
            addresses, version or settings (the first difference is named).
    """
    deadline = time.monotonic() + timeout_seconds
    mine = {
        "index": index,
        "workers": list(addresses),
        "lbkeras version": lbkeras.__version__,
        "settings": settings,
    }
    mine = json.loads(json.dumps(mine))
    key = token.encode()
    try:
        with port_held(addresses, index):
            if index == 0:
                lines = _gather(mine, key, deadline, timeout_seconds)
            else:
                lines = {0: _call(mine, key, deadline, timeout_seconds)}
    except PortInUse as error:
        if index:  # tell the chief, which tells the others if it is still waiting
            with contextlib.suppress(UserError):
                _call(
                    mine | {"error": str(error)}, key, time.monotonic() + _SECONDS_FOR_THE_LATE, 0
                )
        raise UserError(str(error)) from None
    return Workers(index, addresses, lines, timeout_seconds, on_stop)


def _gather(mine: dict, key: bytes, deadline: float, timeout_seconds: float) -> dict:
    """Runs the chief's side: answers all other workers and returns the connections to them."""
    addresses = mine["workers"]
    with contextlib.ExitStack() as listening:
        listeners = [listening.enter_context(each) for each in listeners_of(addresses[0])]
        hosts = {listener.getsockname()[0] for listener in listeners}
        reception = _Reception(mine, key, deadline, listeners)
        try:
            reception.run()
        finally:
            reception.close()
    error = reception.error
    missing = [i for i in range(1, len(addresses)) if i not in reception.lines]
    if missing and not error:
        names = " and ".join(f"worker {i} ({addresses[i]})" for i in missing)
        received = "greetings with another token" if reception.other_token else "nothing"
        error = (
            f"{names}: expected to connect to worker 0 ({addresses[0]}) within "
            f"{timeout_seconds:g} s, received {received}; is it started, and with the same "
            f"--workers?{unreachable(addresses[0], hosts)}"
        )
    answer = {"error": error} if error else {"ok": True}
    for line, nonce in [*reception.lines.values(), *reception.rejected]:
        line.send(sealed(key, "chief", nonce, answer))
    if error:
        raise UserError(error)
    return {index: line for index, (line, _) in reception.lines.items()}


class _Reception:
    """Listens to all connections of the chief until each worker has greeted it, or the deadline.

    Attributes:
        lines: for each other worker's index its Line and nonce.
        rejected: Lines and nonces of workers that cannot take part.
        error: the error message, or None.
        other_token: whether a greeting had another token.
    """

    def __init__(self, mine: dict, key: bytes, deadline: float, listeners):
        self.lines, self.rejected, self.error, self.other_token = {}, [], None, False
        self._mine = mine
        self._key = key
        self._deadline = deadline
        self._strangers = {}  # Line -> its nonce and its deadline for the greeting; oldest first
        self._selector = selectors.DefaultSelector()
        for listener in listeners:
            self._selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        while len(self.lines) < len(self._mine["workers"]) - 1:
            now = time.monotonic()
            if now >= self._deadline:
                return
            for line, (_, until) in list(self._strangers.items()):
                if now >= until:
                    self._drop(line)
            for ready, _ in self._selector.select(min(self._deadline - now, 0.2)):
                if isinstance(ready.fileobj, Line):
                    self._hear(ready.fileobj)
                else:
                    self._accept(ready.fileobj)

    def close(self) -> None:
        for line in list(self._strangers):
            self._drop(line)
        self._selector.close()

    def _accept(self, listener) -> None:
        if len(self._strangers) >= _MOST_STRANGERS:
            self._drop(next(iter(self._strangers)))
        try:
            line = Line(listener.accept()[0])
        except OSError:  # already closed
            return
        nonce = secrets.token_hex(16)
        self._strangers[line] = nonce, time.monotonic() + _SECONDS_TO_GREET
        self._selector.register(line, selectors.EVENT_READ)
        line.send({"protocol": PROTOCOL, "nonce": nonce})

    def _hear(self, line: Line) -> None:
        if line.fileno() < 0:  # dropped since it was found ready
            return
        try:
            line.read()
            message = line.next()
        except ConnectionError:  # a stranger, or a worker that stopped waiting
            self._drop(line)
            return
        if message is not None and line in self._strangers:
            self._greet(line, message)

    def _greet(self, line: Line, message: dict) -> None:
        try:
            hello = opened(self._key, "worker", self._strangers[line][0], message)
        except OtherToken:
            self.other_token = True
            line.send({"refused": "token"})
            hello = None
        if not _is_greeting(hello, self._mine):
            self._drop(line)
            return
        del self._strangers[line]
        index, known = hello["index"], [*self.lines, 0]
        wrong = _what_is_wrong(hello, self._mine, known)
        if wrong is None or index not in known:
            self.lines[index] = line, hello["nonce"]
        else:
            self.rejected.append((line, hello["nonce"]))
        if wrong and not self.error:
            self.error = one_line(wrong)[:_LONGEST_ERROR]
            self._deadline = min(self._deadline, time.monotonic() + _SECONDS_FOR_THE_LATE)

    def _drop(self, line: Line) -> None:
        self._selector.unregister(line)
        line.close()
        self._strangers.pop(line, None)
        self.lines = {i: each for i, each in self.lines.items() if each[0] is not line}
        self.rejected = [each for each in self.rejected if each[0] is not line]


def _is_greeting(hello: dict | None, mine: dict) -> bool:
    """Whether a message has the form of a worker's greeting, so that it can be compared."""
    return (
        hello is not None
        and all(type(hello.get(key)) is type(value) for key, value in mine.items())
        and all(type(each) is str for each in hello["workers"])
        and 0 <= hello["index"] < len(hello["workers"])
        and type(hello.get("nonce")) is str
        and type(hello.get("error", "")) is str
    )


def _what_is_wrong(hello: dict, mine: dict, known: list[int]) -> str | None:
    """Returns why a worker that greeted the chief cannot take part; None if it can."""
    if "error" in hello:
        return hello["error"]
    index, addresses = hello["index"], mine["workers"]
    for key in ("workers", "lbkeras version"):
        if hello[key] != mine[key]:
            shown = [",".join(v) if isinstance(v, list) else v for v in (mine[key], hello[key])]
            return f"worker {index}: expected {key} {shown[0]} (worker 0's), received {shown[1]}"
    name = f"worker {index} ({addresses[index]})"
    if index in known:
        return f"{name}: expected one process with this worker index, received two"
    for key in {**mine["settings"], **hello["settings"]}:
        expected, received = (each["settings"].get(key) for each in (mine, hello))
        if expected != received:
            return (
                f"{name}: expected the config of worker 0 ({key}={expected!r}), "
                f"received {key}={received!r}"
            )
    return None


def _call(mine: dict, key: bytes, deadline: float, timeout_seconds: float) -> Line:
    """Runs another worker's side: returns its connection to the chief once the chief agrees."""
    index, addresses = mine["index"], mine["workers"]
    name, chief = f"worker {index} ({addresses[index]})", f"worker 0 ({addresses[0]})"
    problem = "no answer"
    while (left := deadline - time.monotonic()) > 0:
        line, answer = None, {}
        try:
            seconds = min(left, _SECONDS_TO_CONNECT)
            line = Line(socket.create_connection(host_and_port(addresses[0]), timeout=seconds))
            answer = _answer(line, mine, key, deadline)
        except OtherToken:
            line.close()
            raise UserError(
                f"{name}: expected the token of {chief}, received another; give both the same "
                "--token_file or LBKERAS_TOKEN"
            ) from None
        except OSError as error:
            problem = error.strerror or str(error)
        if "ok" in answer:
            return line
        if line is not None:
            line.close()
        if "error" in answer:
            raise UserError(one_line(str(answer["error"])))
        time.sleep(_SECONDS_BETWEEN_TRIES)
    raise UserError(
        f"{name}: expected {chief} to answer within {timeout_seconds:g} s, received: {problem}; "
        "is it started, and with the same --workers?"
    )


def _answer(line: Line, mine: dict, key: bytes, deadline: float) -> dict:
    """Greets the chief and returns its answer, which comes when all have greeted or time is up."""
    asked = line.receive(_SECONDS_TO_GREET)
    if asked.get("protocol") != PROTOCOL or type(asked.get("nonce")) is not str:
        raise ConnectionError("a greeting of another program or another version")
    nonce = secrets.token_hex(16)
    line.send(sealed(key, "worker", asked["nonce"], mine | {"nonce": nonce}))
    left = max(deadline - time.monotonic(), 0.0)
    message = line.receive(left + 2 * _SECONDS_FOR_THE_LATE)
    return opened(key, "chief", nonce, message) or {}
