"""A context in which code is traced as if its replica were the only one."""

import contextlib
import contextvars

_alone = contextvars.ContextVar("alone", default=False)


@contextlib.contextmanager
def alone():
    """Makes losses in this context those of the replica's own part, without communication."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def is_alone() -> bool:
    """Whether the code runs inside `alone()`."""
    return _alone.get()
