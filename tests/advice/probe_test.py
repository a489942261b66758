import pytest

from lbkeras.advice.probe import fewest_pieces


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
