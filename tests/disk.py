"""A disk that is full, without one."""

import contextlib
import resource


@contextlib.contextmanager
def largest_file(size: int):
    """A file that grows beyond it cannot be written, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
