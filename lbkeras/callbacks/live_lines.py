"""Lines that are redrawn in place: the last lines of a terminal, or an output of a notebook."""

import functools
import os
import shutil
import sys
import uuid


class TerminalLines:
    """The last lines of a terminal, which make way for other output.

    Anything written to stdout or stderr erases them first, so that it starts on a new line. Both
    streams are wrapped from `draw` until `keep`. Callbacks are not told if an exception ends a
    `fit`; the wrappers then stay and only pass on what is written. (rich's `Live` would be shorter,
    but leaves the cursor hidden in that case and keeps its lines below all later output.)
    """

    def __init__(self):
        self._shown = 0
        self._line_is_open = False  # other output has not ended its line
        self._own_writes = {}  # the original `write` of each wrapped stream

    @property
    def columns(self) -> int:
        return shutil.get_terminal_size().columns

    def draw(self, lines: list[str]) -> None:
        """Draws lines, each narrower than `columns`, in place of the previous ones."""
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
        """Returns the text that erases the lines and puts the cursor where the next ones begin."""
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
    """An output of the running notebook cell that is updated in place.

    Args:
        shell: the kernel's shell, from `get_ipython()`.
    """

    columns = 100

    def __init__(self, shell):
        self._shell = shell
        self._cell = self._output = None

    def draw(self, lines: list[str]) -> None:
        """Shows lines in place of the previous ones; in another cell, in a new output."""
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
        """Shows lines that stay; the next ones get a new output."""
        self.draw(lines)
        self._output = None


_TERMINAL = TerminalLines()
_notebook_of = functools.cache(NotebookLines)


def live_lines() -> TerminalLines | NotebookLines | None:
    """Returns an object that redraws lines; None in a file, pipe or batch job, which cannot."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if hasattr(shell, "kernel"):
        return _notebook_of(shell)
    # The terminal of a command in a notebook cell (`!lbkeras train`) cannot move the cursor up.
    plain = os.environ.get("TERM") == "dumb" or "JPY_PARENT_PID" in os.environ
    return _TERMINAL if sys.stdout.isatty() and not plain else None
