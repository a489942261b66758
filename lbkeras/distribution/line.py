"""A connection between two workers that carries one JSON object per line and is not trusted."""

import json
import select
import socket
import threading
import time

_LONGEST = 2**24  # bytes; the settings of a replication of 100 runs take 200,000
_SECONDS_TO_SEND = 5.0


class Line:
    """A connection that carries one JSON object per line, in both directions.

    Any thread may send; only one may receive.

    Args:
        connection: a connected socket, which the `Line` takes over.
        longest: most bytes of a received message.
    """

    def __init__(self, connection: socket.socket, longest: int = _LONGEST):
        self._connection = connection
        self._longest = longest
        self._received = bytearray()
        self._sending = threading.Lock()
        connection.settimeout(_SECONDS_TO_SEND)

    def fileno(self) -> int:
        """Returns the socket's descriptor, for selectors."""
        return self._connection.fileno()

    def send(self, message: dict) -> None:
        """Sends a message. Raises no error if the other end is gone; `receive` does."""
        with self._sending:
            try:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
            except OSError:
                self._shut(socket.SHUT_WR)  # half a line may have been sent

    def receive(self, seconds: float) -> dict:
        """Waits for the next message and returns it.

        Raises:
            TimeoutError: no message is complete within `seconds`.
            ConnectionError: the connection was closed, or what was received is not a message.
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
        """Reads the received bytes into the buffer of `next`; waits only if there are none.

        Raises:
            ConnectionError: the connection was closed.
        """
        try:
            data = self._connection.recv(2**16)
        except OSError as error:
            raise ConnectionError(error.strerror or str(error)) from None
        if not data:
            raise ConnectionError("the connection was closed")
        self._received += data

    def next(self) -> dict | None:
        """Returns the first message that `read` has received; None if it is not complete.

        Raises:
            ConnectionError: it is not a JSON object, or it is too long.
        """
        end = self._received.find(b"\n")
        if max(end, len(self._received) if end < 0 else 0) > self._longest:
            raise ConnectionError(f"a line of more than {self._longest} bytes")
        if end < 0:
            return None
        text = bytes(self._received[:end])
        del self._received[: end + 1]
        if (message := parsed(text)) is None:
            raise ConnectionError("a line that is not a JSON object")
        return message

    def end(self) -> None:
        """Tells the other end that nothing more will be sent."""
        self._shut(socket.SHUT_WR)

    def close(self) -> None:
        self._connection.close()

    def _shut(self, how: int) -> None:
        try:
            self._connection.shutdown(how)
        except OSError:
            pass


def parsed(text: str | bytes) -> dict | None:
    """Returns the JSON object in a text from another process; None if it is not one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def host_and_port(address: str) -> tuple[str, int]:
    """Splits `10.0.0.1:2222` into `("10.0.0.1", 2222)`; removes the brackets of IPv6."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
