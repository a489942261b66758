"""What TensorFlow says of data that it cannot read, in one line."""

import re

import tensorflow as tf

from lbkeras.errors import UserError


def reason(error: tf.errors.OpError) -> str:
    """The cause in an error of the graph, without the names of nodes and the places in Keras.

    Of an error that Python raised inside the graph, what Python said.
    """
    text = re.split(r"\s*\[\[\{\{node|\s*\[Op:|\nTraceback \(most", str(error))[0]
    text = re.sub(r"\{\{[^}]*\}\}", " ", text.replace("Graph execution error:", ""))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = re.search(r"UserError: (.*)", text)
    return raised[1] if raised else " ".join(lines[-1:]) or type(error).__name__


def user_error(key: str, error: tf.errors.OpError) -> UserError:
    """The user's error of data that could not be read; one that was raised inside stays as it is.

    Args:
        key: what it begins with, such as "source".
        error: what TensorFlow raised.
    """
    said = reason(error)
    if "UserError: " in str(error):
        return UserError(said)
    return UserError(f"{key}: expected examples that can be read, received {said}")


def error_of_data(name: str, error: Exception) -> UserError | None:
    """What is to be said of a data set that an iterator of tf.data could not read.

    Args:
        name: the data set's.
        error: what was raised while it was read.

    Returns:
        None where the error is none of reading data.
    """
    of_reading = isinstance(error, tf.errors.OpError) and "IteratorGetNext" in str(error)
    if not of_reading or isinstance(error, tf.errors.ResourceExhaustedError):
        return None
    return user_error(f"data set {name!r}", error)
