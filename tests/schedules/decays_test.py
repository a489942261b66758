import pytest

from lbkeras.errors import UserError
from lbkeras.schedules import steps


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: steps([1], [5], 10),
            "values: expected 2, one more than boundaries, received 1",
        ),
        (
            lambda: steps([1, 1, 1], [6, 5], 10),
            "boundaries: expected epochs in increasing order inside (0, 10), received (6.0, 5.0)",
        ),
    ],
)
def test_message(make, message):
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value) == message
