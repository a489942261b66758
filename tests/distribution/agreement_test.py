"""Decisions of workers together: with one process, and with two."""

import time

import numpy as np
import pytest

from lbkeras.distribution import agreement
from tests.forked import Forked
from tests.ports import reserve_addresses


def test_one_process_agrees_with_itself(mirrored):
    for strategy in (None, mirrored):
        assert agreement.num_workers(strategy) == 1
        assert agreement.is_chief(strategy)
        np.testing.assert_array_equal(agreement.gather(strategy, [1.5, 2]), [[1.5, 2.0]])
        ask = agreement.Agreement(strategy)
        assert [ask.largest(15), ask.largest(0), ask.largest(2, now=True)] == [15, 0, 2]


# The script of each of two workers. Worker 1 is slower, and gets the signal.
_WORKER = """
import os, sys, time
from lbkeras import distribution
from lbkeras.distribution import agreement
index = int(sys.argv[1])
distribution.set_cluster(sys.argv[2], index)
strategy = distribution.strategy("multi_worker")
assert agreement.num_workers(strategy) == 2
assert agreement.is_chief(strategy) == (index == 0)
rows = agreement.gather(strategy, [index + 0.5, 10.0 ** (8 + index)])
assert rows.tolist() == [[0.5, 1e8], [1.5, 1e9]], rows
ask, exchanges = agreement.Agreement(strategy, seconds=0.1), []
for step in range(200):
    time.sleep(0.001 + 0.004 * index)
    if received := ask.largest(15 if index == 1 and step > 60 else 0):
        break
print("stopped", step, int(received), flush=True)
assert ask.largest(0, now=True) == 0
os._exit(0)
"""


@pytest.mark.slow
def test_two_workers_agree_at_the_same_step(tmp_path):
    (tmp_path / "worker.py").write_text(_WORKER)
    addresses = ",".join(reserve_addresses(2))
    processes = [Forked(index, addresses, script=tmp_path / "worker.py") for index in range(2)]
    begin = time.monotonic()
    try:
        said = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    outputs = [output for output, _ in said]
    assert outputs[0].startswith("stopped "), (time.monotonic() - begin, said)
    assert outputs[0] == outputs[1]
    _, step, number = outputs[0].split()
    assert 61 <= int(step) < 200 and int(number) == 15
