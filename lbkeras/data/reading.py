"""Turns TensorFlow's errors about data that it cannot read into one line."""

import contextlib
import re
import sys

from lbkeras.errors import UserError

# Names of nodes, operations and data sets.
_PLACES = (
    r"\[\[.*?\]\]|\{\{.*?\}\}|\[Op:.*"
    r"|Error in user-defined function passed to \S+ transformation with iterator: \S+: "
)

# What TensorFlow writes, and what we write instead.
_SAID = (
    (r"UserError: (.*)", r"\1"),
    (r"assertion failed: \[(expected .*?)\] \[(.*?)\]", r"\1 \2"),
    (
        r"Input dataset was expected to contain (\d+) elements? but contained (?:only )?(.*?)"
        r"(?: elements?)?\.",
        r"expected \1 elements, received \2",
    ),
)


def reason(error: Exception) -> str:
    """Returns the cause of an error in the graph, without names of nodes and places in Keras.

    It begins with "expected" if the data can be read but are not as they should be. A UserError
    raised in Python inside the graph keeps its text.
    """
    text = re.sub(_PLACES, "", str(error))
    for pattern, said in _SAID:
        found = re.search(pattern, text)
        if found:
            return found.expand(said)
    several = re.search(r"\(0\) [A-Z_]+: (.*)", text)  # one error per replica
    lines = [several[1]] if several else text.split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    return lines[-1] if lines else type(error).__name__


def user_error(key: str, error: Exception) -> UserError:
    """Returns a UserError about data that could not be read; a UserError inside keeps its text.

    Args:
        key: the start of the message, such as "source".
        error: what TensorFlow raised.
    """
    said = reason(error)
    if "UserError: " in str(error):
        return UserError(said)
    expected = (
        "" if said.startswith("expected") else "expected examples that can be read, received "
    )
    return UserError(f"{key}: {expected}{said}")


def error_of_data(name: str, error: Exception) -> UserError | None:
    """Returns the UserError about a data set that a tf.data iterator could not read.

    Args:
        name: the data set's.
        error: what was raised while reading.

    Returns:
        The error, or None if `error` is not about reading data.
    """
    if "tensorflow" in sys.modules:  # otherwise the error is not TensorFlow's
        import tensorflow as tf

        of_reading = isinstance(error, tf.errors.OpError) and "IteratorGetNext" in str(error)
        if of_reading and not isinstance(error, tf.errors.ResourceExhaustedError):
            return user_error(f"data set {name!r}", error)
    return None


@contextlib.contextmanager
def reading_data(name: str):
    """Turns TensorFlow's errors about data that it cannot read into a UserError.

    Args:
        name: the data set's.

    Raises:
        UserError: the data cannot be read; the message names the data set.
    """
    try:
        yield
    except Exception as error:
        found = error_of_data(name, error)
        if found is None:
            raise
        raise found from error
