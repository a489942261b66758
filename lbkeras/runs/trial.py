"""What does not fit together is found before training: a few examples are evaluated."""

import contextlib

from lbkeras.errors import UserError
from lbkeras.runs.components import said_of

_EXAMPLES = 16


@contextlib.contextmanager
def fitting_together(key: str, data_name: str):
    """Turns what building or evaluating a model raises into one line.

    Args:
        key: what the user calls the model.
        data_name: what the user calls the data.

    Raises:
        UserError: model, loss, metrics and data do not fit together, or data cannot be read.
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
    """What a compiled model's evaluation of a few examples logs.

    Args:
        model: compiled.
        data: a Pipeline.
        replicas: that divide the examples.
    """
    number = min(max(_EXAMPLES // replicas, 1) * replicas, data.num_examples)
    return model.evaluate(data.in_order(number, number), verbose=0, return_dict=True)
