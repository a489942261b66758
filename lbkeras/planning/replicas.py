"""Splits a global batch size among replicas, checked before training."""

from lbkeras.errors import UserError
from lbkeras.planning.plan import Plan


def replica_batch_size(batch_size: int, num_replicas: int, what: str = "replicas") -> int:
    """Returns each replica's examples per update: batch_size / num_replicas.

    >>> replica_batch_size(4096, num_replicas=8)
    512

    Args:
        batch_size: global batch size, examples per update.
        num_replicas: replicas of all workers together, at least 1.
        what: the word for the replicas in the error.

    Raises:
        UserError: the batch size is not a multiple of `num_replicas`; names the nearest multiples.
    """
    if batch_size % num_replicas == 0:
        return batch_size // num_replicas
    below = batch_size // num_replicas * num_replicas
    above = below + num_replicas
    nearest = f"are {below} and {above}" if below else f"is {above}"
    raise UserError(
        f"batch size: expected a multiple of the {num_replicas} {what}, received {batch_size}; "
        f"the nearest {nearest}"
    )


def check_replicas(plan: Plan, num_replicas: int, what: str = "replicas") -> None:
    """Checks that the batch size of every phase is a multiple of the number of replicas.

    Args:
        plan: a `Plan`.
        num_replicas: replicas of all workers together, at least 1.
        what: the word for the replicas in the error.

    Raises:
        UserError: a phase's batch size is not a multiple; names the phase, its epochs and the
            nearest multiples.
    """
    for number, phase in enumerate(plan.phases, 1):
        try:
            replica_batch_size(phase.batch_size, num_replicas, what)
        except UserError as error:
            last = phase.first_epoch + phase.epochs
            raise UserError(
                f"phase {number} (epochs {phase.first_epoch + 1} to {last}): {error}"
            ) from None
