import pytest

from lbkeras.replication.comparison import holm


def test_holms_correction():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert (holm([]), holm([0.9, 0.8])) == ([], [1.0, 1.0])
