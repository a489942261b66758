"""Recognizes out-of-memory errors of a backend without importing it."""


def out_of_memory(error: BaseException) -> str | None:
    """Returns the line that says how much memory was requested; None for any other error.

    TensorFlow raises the same class of error for a full disk, which is not meant here.

    Args:
        error: TensorFlow's `ResourceExhaustedError`, JAX' error with status RESOURCE_EXHAUSTED, or
            any other error.
    """
    if type(error).__name__ == "ResourceExhaustedError":
        lines = getattr(error, "message", str(error)).splitlines()
        return next((line for line in lines if "OOM" in line), None)
    if type(error).__module__.partition(".")[0] in ("jax", "jaxlib"):
        lines = str(error).splitlines()
        return next((line for line in lines if line.startswith("RESOURCE_EXHAUSTED")), None)
    return None
