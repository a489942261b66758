"""Errors of a backend that ran out of memory, known without importing it."""


def out_of_memory(error: BaseException) -> str | None:
    """The line that says how much memory was asked for; None: the error says something else.

    TensorFlow's class of error is also that of a full disk.

    Args:
        error: TensorFlow's `ResourceExhaustedError` or JAX' error of status RESOURCE_EXHAUSTED,
            or any other.
    """
    if type(error).__name__ == "ResourceExhaustedError":
        lines = getattr(error, "message", str(error)).splitlines()
        return next((line for line in lines if "OOM" in line), None)
    if type(error).__module__.partition(".")[0] in ("jax", "jaxlib"):
        lines = str(error).splitlines()
        return next((line for line in lines if line.startswith("RESOURCE_EXHAUSTED")), None)
    return None
