"""The memory that a step needs on JAX, and the memory that is free."""

from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from lbkeras.devices import free_memory_mb

_SHARE = 0.9  # of the free memory; the rest is for fragmentation and other compiled functions


def free_bytes() -> int | None:
    """Returns nine tenths of the first device's free memory; None if it does not report its limit.

    Free memory is the device's limit minus the arrays that are on it now; on a CPU, what Linux
    reports as free.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return int(_SHARE * free_memory_mb() * 2**20)
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is None:
        return None
    on_device = sum(
        shard.data.nbytes
        for array in jax.live_arrays()
        for shard in array.addressable_shards
        if shard.device == device
    )
    return int(_SHARE * (limit - on_device))


def bytes_needed(compiled) -> int | None:
    """Returns the memory that a compiled step needs besides its state; None if unknown.

    Its batch is included.

    Args:
        compiled: `jax.stages.Compiled` of a step that donates its state.
    """
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    new = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    batch = analysis.argument_size_in_bytes - analysis.alias_size_in_bytes
    return analysis.temp_size_in_bytes + max(new, 0) + max(batch, 0)


def most_bytes(jaxpr) -> int:
    """Returns the total size of the results of all operations of a step, as if none were freed.

    Args:
        jaxpr: `jax.core.ClosedJaxpr`, or a jaxpr inside one.
    """
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    total = 0
    for equation in jaxpr.eqns:
        total += sum(_bytes_of(each.aval) for each in equation.outvars)
        for parameter in equation.params.values():
            inner = parameter if isinstance(parameter, tuple | list) else [parameter]
            total += sum(most_bytes(each) for each in inner if hasattr(each, "eqns"))
    return total


def fits_by_trial(compiled, arguments: Any) -> bool:
    """Whether a compiled step runs without running out of memory.

    It is tried on zeros, since it may donate its arguments.

    Args:
        compiled: `jax.stages.Compiled`.
        arguments: shapes and dtypes of its arguments.
    """
    try:
        with jax.ensure_compile_time_eval():  # may be called while another step is traced
            zeros = jax.tree.map(lambda each: jnp.zeros(each.shape, each.dtype), arguments)
            jax.block_until_ready(compiled(*zeros))
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error reports that an allocation on a device failed."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def _bytes_of(aval) -> int:
    shape, dtype = getattr(aval, "shape", None), getattr(aval, "dtype", None)
    if shape is None or dtype is None:
        return 0
    return int(np.prod(shape)) * getattr(dtype, "itemsize", 4)
