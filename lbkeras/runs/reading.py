"""Says of data that cannot be read which they are, on the backend that reads them."""

import contextlib


def reading_data(name: str):
    """A context in which an error of reading data is the user's error, in one line.

    Args:
        name: what the user calls the data.

    Raises:
        UserError: they cannot be read. On JAX Python reads them, whose errors say it themselves.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    from lbkeras.data.reading import reading_data

    return reading_data(name)
