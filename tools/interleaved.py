"""What the benchmarks share: two things timed in turn, and the ratio of such times.

Machines are shared and noisy, so only neighbours in time are compared.
"""

import statistics
import time


def timed_pairs(ours, other, rounds: int, warmups: int = 1, clock=time.perf_counter):
    """`(ours, other)` in seconds for each round, the order alternating.

    Args:
        ours, other: functions without arguments.
        rounds: how often each is timed.
        warmups: how often each is run before, untimed: traces are made there.
        clock: what is read before and after.
    """

    def seconds(function) -> float:
        begin = clock()
        function()
        return clock() - begin

    for _ in range(warmups):
        ours()
        other()
    pairs = []
    for index in range(rounds):
        first, second = (ours, other) if index % 2 == 0 else (other, ours)
        a, b = seconds(first), seconds(second)
        pairs.append((a, b) if index % 2 == 0 else (b, a))
    return pairs


def ratio_of(pairs) -> dict:
    """`ratio`, the median of a / b over the pairs, its `quartiles`, and how many `rounds`."""
    ratios = [a / b for a, b in pairs]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {"ratio": statistics.median(ratios), "quartiles": [low, high], "rounds": len(ratios)}
