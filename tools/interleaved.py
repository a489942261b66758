"""Shared by the benchmarks: functions timed in turn, and the ratios of their times.

Machines are shared and noisy, so only times measured one after the other are compared.
"""

import statistics
import time


def timed_pairs(ours, other, rounds: int, warmups: int = 1, clock=time.perf_counter):
    """Returns `(ours, other)` in seconds for each round, measured in alternating order.

    Args:
        ours, other: functions without arguments.
        rounds: how often each is timed.
        warmups: how often each runs untimed before, for example to be traced.
        clock: function that returns the time in seconds.
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
    """Returns `ratio`, the median of a / b over the pairs, its `quartiles`, and `rounds`."""
    ratios = [a / b for a, b in pairs]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {"ratio": statistics.median(ratios), "quartiles": [low, high], "rounds": len(ratios)}


def measure(contestants, num_images, rounds):
    """Returns the images/s of every contestant in every round."""
    rates = {name: [] for name in contestants}
    for current in range(rounds + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if current:
                rates[name].append(num_images / (time.perf_counter() - start))
    return rates


def report(title, rates):
    """Prints and returns a table; its ratio is the first contestant's median over each one's."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    first = next(iter(medians.values()))
    print(f"\n{title}\n{'':34}{'images/s':>10}{'min':>10}{'max':>10}{'ours is':>10}")
    table = {}
    for name, median in medians.items():
        low, high, ratio = min(rates[name]), max(rates[name]), first / median
        print(f"{name:34}{median:10,.0f}{low:10,.0f}{high:10,.0f}{ratio:9.2f}x")
        table[name] = {"median": median, "min": low, "max": high, "ours_over_this": ratio}
    return table
