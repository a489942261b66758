import pytest

from lbkeras.advice.probe import Probe, fewest_pieces, predicted_seconds
from lbkeras.planning import Phase, Plan


@pytest.mark.parametrize("examples", [1, 2, 3, 7, 8, 64, 100])
def test_fewest_pieces_that_fit(examples):
    for answer in range(1, examples + 1):
        tried = []

        def fits(pieces, tried=tried, answer=answer):
            tried.append(pieces)
            return pieces >= answer

        assert fewest_pieces(fits, examples) == answer
        assert len(tried) == len(set(tried)) <= 2 * examples.bit_length()
        assert all(1 <= pieces <= examples for pieces in tried)


def test_not_even_one_example_fits():
    assert fewest_pieces(lambda pieces: False, examples=6) is None


def test_the_predicted_time_counts_the_start_of_a_batch_size_once():
    plan = Plan(
        [Phase(0, 2, 64, 0.1, 0.9), Phase(2, 1, 640, 0.1, 0.9), Phase(3, 3, 640, 0.01, 0.9)], 6400
    )
    probes = {
        64: Probe(64, 64, 1, seconds_a_step=0.1, seconds_to_start=2.0, memory_mb=None),
        640: Probe(640, 64, 10, seconds_a_step=0.5, seconds_to_start=3.0, memory_mb=None),
    }
    assert probes[640].examples_per_second == pytest.approx(1280)
    assert predicted_seconds(plan, probes) == pytest.approx([22.0, 8.0, 15.0])
