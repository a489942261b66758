"""Evaluates a few examples before training, to find what does not fit together."""

import contextlib

from lbkeras.errors import UserError
from lbkeras.runs.components import said_of

_EXAMPLES = 16


@contextlib.contextmanager
def fitting_together(key: str, data_name: str):
    """Turns an error of building or evaluating a model into one line.

    Args:
        key: what the user calls the model.
        data_name: what the user calls the data.

    Raises:
        UserError: model, loss, metrics and data do not fit together, or the data cannot be read.
    """
    from lbkeras.runs.reading import reading_data

    try:
        with reading_data(data_name):
            yield
    except Exception as error:
        if isinstance(error, UserError) or type(error).__name__ == "ResourceExhaustedError":
            raise
        raise UserError(
            f"{key}: expected a model whose outputs its loss and metrics take, and that takes the "
            f"data, received: {said_of(error)}"
        ) from error


def evaluate_a_few(model, data, replicas: int = 1) -> dict[str, float]:
    """Evaluates a compiled model on a few examples and returns its logs.

    Args:
        model: a compiled model.
        data: a Pipeline.
        replicas: the number of replicas that share the examples.
    """
    number = min(max(_EXAMPLES // replicas, 1) * replicas, data.num_examples)
    return model.evaluate(data.in_order(number, number), verbose=0, return_dict=True)
