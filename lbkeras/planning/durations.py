"""Durations in words."""


def in_words(seconds: float, digits: int = 0) -> str:
    """Returns a duration in the unit that keeps its number short.

    >>> [in_words(seconds) for seconds in (0.34, 12.3, 340, 9000)]
    ['340 ms', '12 s', '6 min', '2.5 h']
    >>> [in_words(seconds, digits=1) for seconds in (0.34, 12.3, 340, 9000)]
    ['0.3 s', '12.3 s', '5.7 min', '2.5 h']

    Args:
        seconds: the duration.
        digits: decimal places of seconds and minutes. With 0, durations below 1 s are in ms.
    """
    if seconds < 1 and not digits:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.{digits}f} s"
    if seconds < 6000:
        return f"{seconds / 60:.{digits}f} min"
    return f"{seconds / 3600:,.1f} h"
