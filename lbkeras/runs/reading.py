"""Names the data in an error of reading it, if the backend reads it."""

import contextlib

from lbkeras.keras_internals.backend_start import load_backend


def reading_data(name: str):
    """Returns a context that turns an error of reading data into a `UserError` of one line.

    On JAX it does nothing: Python reads the data there, and its errors name the file.

    Args:
        name: what the user calls the data.

    Raises:
        UserError: the data cannot be read.
    """
    if load_backend() != "tensorflow":  # first, as importing Keras would print notices
        return contextlib.nullcontext()
    from lbkeras.data.reading import reading_data

    return reading_data(name)
