"""Ports for workers on this machine that nobody else takes before they listen."""

import errno
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

# Below the ports that Linux gives to connections and to listeners that ask for any (32768 on).
_PORTS = range(20_000, 32_000)
_FILE = Path(tempfile.gettempdir()) / f"lbkeras-test-ports-{os.getuid()}"
_reserved = {}  # port -> the open file whose byte of that number this process has locked


def reserve_addresses(number: int) -> list[str]:
    """`localhost:PORT` of ports that are free, and stay so but for whom gets them.

    A port that was found free and given back can be taken by any connection until a worker, which
    takes seconds to start, listens on it. These lie where the system takes none by itself, and
    locks keep other test processes away until this one ends.
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
