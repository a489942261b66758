"""The workers that train one model together: each notices when another stops."""

import math
import queue
import threading

from lbkeras.distribution.line import Line
from lbkeras.errors import one_line

_SECONDS_BETWEEN_HEARTBEATS = 1.0


class Workers:
    """The processes that train one model together, each connected to the chief, worker 0.

    `rendezvous.meet` makes it. Each process sends heartbeats over its connections from a thread and
    watches for those of the others. If another process dies, its connection closes at once. If it
    is suspended, or its machine or the network fails, its heartbeats stop. `on_stop` is then called
    with a sentence that names the worker.

    Args:
        index: this worker's index, from 0.
        addresses: `host:port` of each worker.
        lines: for each other worker's index the Line to it.
        timeout_seconds: time without a heartbeat after which a worker counts as stopped.
        on_stop: called once with the sentence, from another thread; or None.
    """

    def __init__(self, index: int, addresses, lines: dict, timeout_seconds: float, on_stop):
        self.index = index
        self.addresses = list(addresses)
        self._lines = lines
        self._on_stop = on_stop
        self._timeout_seconds = timeout_seconds
        self._interval = min(_SECONDS_BETWEEN_HEARTBEATS, timeout_seconds / 10)
        self._shared = queue.Queue()
        self._stopping = threading.RLock()
        self._leaving = threading.Event()
        for other, line in self._lines.items():
            threading.Thread(target=self._watch, args=(other, line), daemon=True).start()
        threading.Thread(target=self._send_heartbeats, daemon=True).start()

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def share(self, value=None):
        """Returns the chief's `value`, which must be valid JSON. All workers must call it."""
        if not self.is_chief:
            return self._shared.get()
        for line in self._lines.values():
            line.send({"value": value})
        return value

    def leave(self, message: str | None = None) -> None:
        """Ends the connections.

        Args:
            message: why this worker stops early; the other workers then stop too. None: the work
                is done.
        """
        with self._stopping:
            self._leaving.set()
        for line in self._lines.values():
            line.send({"done": True} if message is None else self._stopped(self.index, message))
            line.end()

    def _send_heartbeats(self) -> None:
        while not self._leaving.wait(self._interval):
            for line in self._lines.values():
                line.send({"alive": True})

    def _watch(self, other: int, line: Line) -> None:
        while True:
            received = self._next(other, line)
            if "value" in received:
                self._shared.put(received["value"])
            elif "done" in received:
                return
            elif "stopped" in received:
                break
        with self._stopping:
            if self._leaving.is_set():
                return
            self._leaving.set()
            for its_line in self._lines.values():  # also the stopped worker's, if it resumes
                its_line.send(received)
            if self._on_stop is not None:  # `leave` waits, so that only one reason is reported
                self._on_stop(one_line(str(received["stopped"])))

    def _next(self, other: int, line: Line) -> dict:
        """Returns the next message, or one that says that the other worker stopped.

        Counts waits without a message instead of reading the clock, which also runs while this
        process itself is suspended. So workers that pause together do not miss each other.
        """
        for _ in range(math.ceil(self._timeout_seconds / self._interval) + 1):
            try:
                return line.receive(self._interval)
            except TimeoutError:
                continue
            except ConnectionError:
                return self._stopped(other)
        return self._silent(other)

    def _stopped(self, index: int, message: str | None = None) -> dict:
        advice = "run the same command again on every worker to resume from the last checkpoint"
        because = f": {message}" if message else f"; {advice}"
        return {"stopped": f"worker {index} ({self.addresses[index]}) stopped{because}"}

    def _silent(self, index: int) -> dict:
        return {
            "stopped": f"worker {index} ({self.addresses[index]}) sent no heartbeat for "
            f"{self._timeout_seconds:g} s; kill it if it still exists, and run the same command "
            "again on every worker to resume from the last checkpoint"
        }
