"""The noise scale of SGD: the joint effect of learning rate, momentum and batch size.

Reference: Smith, Kindermans, Ying, Le, arXiv:1711.00489, sections 2 and 4.
"""

from lbkeras import checks


def noise_scale(learning_rate: float, momentum: float, batch_size: int, num_examples: int) -> float:
    """Returns Smith's noise scale for batches far smaller than the data set.

    noise_scale = learning_rate · num_examples / (batch_size · (1 − momentum))

    >>> round(noise_scale(0.1, 0.9, 128, 50_000), 6)
    390.625

    Args:
        learning_rate: of SGD, at least 0.
        momentum: of SGD, in [0, 1).
        batch_size: global batch size, examples per update.
        num_examples: examples per epoch.

    Raises:
        UserError: an argument is out of range.

    Reference: arXiv:1711.00489, equation 4.
    """
    return _amplification(learning_rate, momentum) * num_batches(batch_size, num_examples)


def exact_noise_scale(
    learning_rate: float, momentum: float, batch_size: int, num_examples: int
) -> float:
    """Returns Smith's noise scale for any batch size: 0 when the batch is the whole data set.

    exact_noise_scale = learning_rate / (1 − momentum) · (num_examples / batch_size − 1)

    >>> round(exact_noise_scale(0.1, 0.9, 5120, 50_000), 6)
    8.765625

    Args:
        learning_rate: of SGD, at least 0.
        momentum: of SGD, in [0, 1).
        batch_size: global batch size, examples per update.
        num_examples: examples per epoch.

    Raises:
        UserError: an argument is out of range.

    Reference: arXiv:1711.00489, sections 2 and 4.
    """
    return _amplification(learning_rate, momentum) * (num_batches(batch_size, num_examples) - 1)


def accumulator_epochs(momentum: float, batch_size: int, num_examples: int) -> float:
    """Returns the time constant of the momentum accumulator, in epochs.

    accumulator_epochs = batch_size / (num_examples · (1 − momentum))

    The accumulator starts at 0 and takes about this long to fill or to forget. About one epoch or
    more costs accuracy, so Smith et al. raise the momentum only as a last resort.

    >>> round(accumulator_epochs(0.98, 3200, 50_000), 6)
    3.2

    Args:
        momentum: of SGD, in [0, 1).
        batch_size: global batch size, examples per update.
        num_examples: examples per epoch.

    Raises:
        UserError: an argument is out of range.

    Reference: arXiv:1711.00489, section 4.
    """
    batches = num_batches(batch_size, num_examples)
    return 1 / (batches * (1 - checks.momentum("momentum", momentum)))


def num_batches(batch_size: int, num_examples: int) -> float:
    """Returns the batches per epoch, unrounded: num_examples / batch_size."""
    num_examples = checks.integer("num_examples", num_examples, minimum=1)
    return num_examples / checks.integer("batch_size", batch_size, minimum=1)


def _amplification(learning_rate: float, momentum: float) -> float:
    """Returns the total factor of a gradient in the weights: learning_rate / (1 − momentum)."""
    learning_rate = checks.not_negative("learning_rate", learning_rate)
    return learning_rate / (1 - checks.momentum("momentum", momentum))
