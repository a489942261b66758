"""Lines that are drawn over: the last ones of a terminal, or an output of a notebook."""

import functools
import os
import shutil
import sys
import uuid


class TerminalLines:
    """The last lines of a terminal; they make way for whatever else is written there.

    What anybody writes to stdout or stderr first takes them away, and so comes onto a line of its
    own. Both streams are watched from the first drawing until lines stay; after an exception, which
    ends a `fit` without a word to its callbacks, they only pass on what is written. (rich's `Live`,
    which would be shorter, then leaves the cursor hidden and its lines below all that follows.)
    """

    def __init__(self):
        self._shown = 0
        self._line_is_open = False  # somebody else's, without its end
        self._own_writes = {}  # of the streams that are watched

    @property
    def columns(self) -> int:
        return shutil.get_terminal_size().columns

    def draw(self, lines: list[str]) -> None:
        """Draws lines, each narrower than `columns`, in the place of the last ones."""
        for stream in (sys.stdout, sys.stderr):
            if stream.isatty() and stream not in self._own_writes:
                self._watch(stream)
        self._write(self._away() + "\n".join(lines))
        self._shown = len(lines)

    def keep(self, lines: list[str]) -> None:
        """Draws lines that stay."""
        self._write(self._away() + "\n".join(lines) + "\n")
        for stream in self._own_writes:
            del stream.write
        self._own_writes = {}

    def _away(self) -> str:
        """What takes the lines away and leaves the cursor where the next ones begin."""
        up = f"\x1b[{self._shown - 1}A" if self._shown > 1 else ""
        away = f"\r{up}\x1b[J" if self._shown else "\n" if self._line_is_open else ""
        self._shown, self._line_is_open = 0, False
        return away

    def _watch(self, stream) -> None:
        write = self._own_writes[stream] = stream.write

        def write_apart(text):
            if self._shown:
                self._write(self._away())
            self._line_is_open = not text.endswith("\n")
            return write(text)

        stream.write = write_apart

    def _write(self, text: str) -> None:
        self._own_writes.get(sys.stdout, sys.stdout.write)(text)
        sys.stdout.flush()


class NotebookLines:
    """An output of the running cell, which is updated.

    Args:
        shell: the kernel's, of `get_ipython()`.
    """

    columns = 100

    def __init__(self, shell):
        self._shell = shell
        self._cell = self._output = None

    def draw(self, lines: list[str]) -> None:
        """Shows lines in the place of the last ones, in another cell in a new output."""
        cell = self._shell.execution_count
        is_new = self._output is None or cell != self._cell
        if is_new:
            self._cell, self._output = cell, uuid.uuid4().hex
        self._shell.display_pub.publish(
            {"text/plain": "\n".join(lines)},
            {},
            transient={"display_id": self._output},
            update=not is_new,
        )

    def keep(self, lines: list[str]) -> None:
        """Shows lines that stay; the next ones come into an output of their own."""
        self.draw(lines)
        self._output = None


_TERMINAL = TerminalLines()
_notebook_of = functools.cache(NotebookLines)


def live_lines() -> TerminalLines | NotebookLines | None:
    """Where lines can be drawn over; None where they cannot: in a file, a pipe, a batch job."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if hasattr(shell, "kernel"):
        return _notebook_of(shell)
    # A command in a notebook's cell (`!lbkeras train`) has a terminal that moves in one line only.
    plain = os.environ.get("TERM") == "dumb" or "JPY_PARENT_PID" in os.environ
    return _TERMINAL if sys.stdout.isatty() and not plain else None
