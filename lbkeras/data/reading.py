"""What TensorFlow says of data that it cannot read, in one line."""

import contextlib
import re
import sys

from lbkeras.errors import UserError

# Names of nodes, operations and data sets.
_PLACES = (
    r"\[\[.*?\]\]|\{\{.*?\}\}|\[Op:.*"
    r"|Error in user-defined function passed to \S+ transformation with iterator: \S+: "
)

# What TensorFlow writes, and how we say it.
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
    """The cause in an error of the graph, without the names of nodes and the places in Keras.

    It begins with "expected" where the data are read and other than they should be, and as Python
    said it where that raised a UserError inside the graph.
    """
    text = re.sub(_PLACES, "", str(error))
    for pattern, said in _SAID:
        found = re.search(pattern, text)
        if found:
            return found.expand(said)
    several = re.search(r"\(0\) [A-Z_]+: (.*)", text)  # one of each replica
    lines = [several[1]] if several else text.split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    return lines[-1] if lines else type(error).__name__


def user_error(key: str, error: Exception) -> UserError:
    """The user's error of data that could not be read; one that was raised inside stays as it is.

    Args:
        key: what it begins with, such as "source".
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
    """What is to be said of a data set that an iterator of tf.data could not read.

    Args:
        name: the data set's.
        error: what was raised while it was read.

    Returns:
        None where the error is none of reading data.
    """
    if "tensorflow" in sys.modules:  # otherwise none of its errors was raised
        import tensorflow as tf

        of_reading = isinstance(error, tf.errors.OpError) and "IteratorGetNext" in str(error)
        if of_reading and not isinstance(error, tf.errors.ResourceExhaustedError):
            return user_error(f"data set {name!r}", error)
    return None


@contextlib.contextmanager
def reading_data(name: str):
    """Turns what TensorFlow says of data that it cannot read into the user's error.

    Args:
        name: of the data set.

    Raises:
        UserError: a stream is damaged; the data set is named.
    """
    try:
        yield
    except Exception as error:
        found = error_of_data(name, error)
        if found is None:
            raise
        raise found from error
