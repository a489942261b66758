"""Reserves ports for workers on this machine until they listen on them."""

import errno
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

# Below the ephemeral ports of Linux (from 32768).
_PORTS = range(20_000, 32_000)
_FILE = Path(tempfile.gettempdir()) / f"lbkeras-test-ports-{os.getuid()}"
_reserved = {}  # port -> the open file in which this process has locked the byte of that number


def reserve_addresses(number: int) -> list[str]:
    """Returns `localhost:PORT` of free ports that nobody else takes while this process runs.

    A worker takes seconds to start. Until it listens, any connection could take a port that was
    found free and released. These ports are outside the range that the system assigns, and locks
    keep other test processes away until this one ends.
    """
    file = next(iter(_reserved.values()), None) or open(_FILE, "ab")
    ports = []
    while len(ports) < number:
        port = random.choice(_PORTS)
        if port in _reserved:
            continue
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            _check_free(port)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EADDRINUSE):
                raise
            continue
        _reserved[port] = file
        ports.append(port)
    return [f"localhost:{port}" for port in ports]


def _check_free(port: int) -> None:
    with socket.socket() as each:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind(("", port))
