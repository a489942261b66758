"""Simulates a full disk."""

import contextlib
import resource


@contextlib.contextmanager
def largest_file(size: int):
    """Makes writes of files larger than `size` bytes fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
