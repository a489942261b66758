"""A connection between two workers that carries JSON objects, one a line, and is not trusted."""

import json
import select
import socket
import threading
import time

_LONGEST = 2**24  # bytes; the settings of a replication of 100 runs take 200,000
_SECONDS_TO_SEND = 5.0


class Line:
    """A connection that carries JSON objects, one a line, in both directions.

    Any thread may send; one receives.

    Args:
        connection: a connected socket, which now belongs to the line.
        longest: bytes of a message that is received, at most.
    """

    def __init__(self, connection: socket.socket, longest: int = _LONGEST):
        self._connection = connection
        self._longest = longest
        self._received = bytearray()
        self._sending = threading.Lock()
        connection.settimeout(_SECONDS_TO_SEND)

    def fileno(self) -> int:
        """The socket's descriptor, for selectors."""
        return self._connection.fileno()

    def send(self, message: dict) -> None:
        """Sends a message. Where the other end is gone nothing happens: `receive` says so."""
        with self._sending:
            try:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
            except OSError:
                self._shut(socket.SHUT_WR)  # half a line may be out

    def receive(self, seconds: float) -> dict:
        """The next message.

        Raises:
            TimeoutError: none is complete within the time.
            ConnectionError: the line has ended, or what came is no message.
        """
        deadline = time.monotonic() + seconds
        waiting = select.poll()
        waiting.register(self._connection, select.POLLIN)
        while (message := self.next()) is None:
            left = max(deadline - time.monotonic(), 0.0)
            if not waiting.poll(1000 * left):
                raise TimeoutError(f"no message within {seconds:g} s")
            self.read()
        return message

    def read(self) -> None:
        """Takes in what has come, for `next`; waits only where nothing has.

        Raises:
            ConnectionError: the line has ended.
        """
        try:
            data = self._connection.recv(2**16)
        except OSError as error:
            raise ConnectionError(error.strerror or str(error)) from None
        if not data:
            raise ConnectionError("the connection was closed")
        self._received += data

    def next(self) -> dict | None:
        """The first message of what `read` has taken in; None: it is not complete.

        Raises:
            ConnectionError: it is no JSON object, or longer than a message may be.
        """
        end = self._received.find(b"\n")
        if max(end, len(self._received) if end < 0 else 0) > self._longest:
            raise ConnectionError(f"a line of more than {self._longest} bytes")
        if end < 0:
            return None
        text = bytes(self._received[:end])
        del self._received[: end + 1]
        if (message := parsed(text)) is None:
            raise ConnectionError("a line that is no JSON object")
        return message

    def end(self) -> None:
        """Says to the other end that nothing more is sent."""
        self._shut(socket.SHUT_WR)

    def close(self) -> None:
        self._connection.close()

    def _shut(self, how: int) -> None:
        try:
            self._connection.shutdown(how)
        except OSError:
            pass


def parsed(text: str | bytes) -> dict | None:
    """The JSON object of a text from another process; None: it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def host_and_port(address: str) -> tuple[str, int]:
    """`("10.0.0.1", 2222)` of `10.0.0.1:2222`; IPv6 without its brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
