import pytest

from lbkeras.replication.plots.style import arm_style


@pytest.mark.parametrize("count", [1, 4, 12])
def test_arms_differ_in_style(count):
    styles = [arm_style(index, count) for index in range(count)]
    assert len({(style["color"], style["linestyle"]) for style in styles}) == count
