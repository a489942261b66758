"""Code that is traced as if its replica were the only one."""

import contextlib
import contextvars

_alone = contextvars.ContextVar("alone", default=False)


@contextlib.contextmanager
def alone():
    """Losses inside it are those of the replica's part, as where replicas cannot meet."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def is_alone() -> bool:
    """Whether `alone()` is in force."""
    return _alone.get()
