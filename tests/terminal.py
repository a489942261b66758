"""A pseudo terminal in place of stdout and stderr, and the screen that it shows."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading

_CODES = re.compile(r"\x1b\[(\d*)([A-Z])|.", re.DOTALL)


@contextlib.contextmanager
def pseudo_terminal(monkeypatch, columns: int):
    """Yields a list to which all text written inside the context is appended when it ends."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    parts, written = [], []

    def read():
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(master, 65536):
                parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    with monkeypatch.context() as patch, open(slave, "w", buffering=1) as stream:
        for name in ("stdout", "stderr", "__stdout__"):
            patch.setattr(sys, name, stream)
        for name, value in (("TERM", "xterm"), ("COLUMNS", None), ("JPY_PARENT_PID", None)):
            patch.setenv(name, value) if value else patch.delenv(name, raising=False)
        yield written
    reader.join()
    os.close(master)
    written.append(b"".join(parts).decode())


def screen(written: str, columns: int) -> list[str]:
    """Returns the lines that a terminal shows; knows only the escape codes that lbkeras uses."""
    rows, row, column = [""], 0, 0
    for match in _CODES.finditer(written):
        number, code = match.groups()
        text = match.group()
        if code == "A":
            row -= int(number)
        elif code == "J" and not number:
            rows[row:] = [rows[row][:column]]
        elif text == "\r":
            column = 0
        elif text == "\n":
            row += 1
        elif text.isprintable():
            if column == columns:
                row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
            rows[row] = rows[row][:column].ljust(column) + text + rows[row][column + 1 :]
            column += 1
        else:
            raise ValueError(f"not known: {text!r}")
        rows += [""] * (row + 1 - len(rows))
    return rows
