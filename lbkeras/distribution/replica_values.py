"""Each replica's own value of a variable that is summed when read, such as a metric's."""

import numpy as np

from lbkeras.distribution.agreement import gather, worker_index


def get_replica_values(strategy, variables: list) -> list[np.ndarray]:
    """Returns each variable's values in all replicas, of shape `(replicas, ...)`.

    All workers must call it.
    """
    stacks = []
    for variable in variables:
        parts = strategy.experimental_local_results(variable.value)
        own = np.stack([np.asarray(part) for part in parts])
        every = gather(strategy, own.ravel())
        stacks.append(every.reshape(-1, *own.shape[1:]).astype(own.dtype))
    return stacks


def set_replica_values(strategy, variables: list, stacks: list) -> None:
    """Sets each replica of this process to its values from `get_replica_values`."""
    for variable, values in zip(variables, stacks, strict=True):
        parts = strategy.experimental_local_results(variable.value)
        first = worker_index(strategy) * len(parts)
        for part, value in zip(parts, values[first : first + len(parts)], strict=True):
            part.assign(value)
