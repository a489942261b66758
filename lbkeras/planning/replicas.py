"""What each replica gets of a global batch, checked before anything is trained."""

from lbkeras.errors import UserError
from lbkeras.planning.plan import Plan


def replica_batch_size(batch_size: int, num_replicas: int, what: str = "replicas") -> int:
    """Examples of each replica at an update: batch_size / num_replicas.

    >>> replica_batch_size(4096, num_replicas=8)
    512

    Args:
        batch_size: global, examples an update.
        num_replicas: over all workers, at least 1.
        what: what the error calls them.

    Raises:
        UserError: the replicas do not divide the batch size; names the nearest that they do.
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
    """Checks that the replicas divide the batch size of every phase of a plan.

    Args:
        plan: a `Plan`.
        num_replicas: over all workers, at least 1.
        what: what the error calls them.

    Raises:
        UserError: a phase has another batch size; names the phase, its epochs and the nearest.
    """
    for number, phase in enumerate(plan.phases, 1):
        try:
            replica_batch_size(phase.batch_size, num_replicas, what)
        except UserError as error:
            last = phase.first_epoch + phase.epochs
            raise UserError(
                f"phase {number} (epochs {phase.first_epoch + 1} to {last}): {error}"
            ) from None
