import pytest

from lbkeras.errors import UserError
from lbkeras.planning import slow_start_plan

IMAGENET = dict(batch_size=32_768, momentum=0.9, num_examples=1_281_167)


def test_the_papers_rates():
    plan = slow_start_plan(epochs=90, **IMAGENET)
    expected = [(40, 6.4), (30, 0.96), (15, 0.128), (5, 0.0128)]
    assert [p.epochs for p in plan.phases] == [epochs for epochs, _ in expected]
    assert [p.learning_rate for p in plan.phases] == pytest.approx([rate for _, rate in expected])
    assert plan.updates() == 3510 and plan.curve is None


@pytest.mark.parametrize("epochs", [1, 7, 18, 100])
def test_any_number_of_epochs_keeps_the_shares(epochs):
    plan = slow_start_plan(
        epochs=epochs, batch_size=256, momentum=0.9, num_examples=10_000, base_learning_rate=0.4
    )
    assert plan.epochs == epochs
    for share, rate in [(0, 0.2), (39, 0.2), (41, 0.03), (69, 0.03), (71, 0.004), (84, 0.004),
                        (86, 0.0004)]:  # fmt: skip
        assert plan.learning_rate(epochs * share / 90) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(epochs=0), "epochs: expected a whole number of at least 1, received 0"),
        (dict(batch_size=0), "batch_size: expected a whole number of at least 1, received 0"),
        (dict(base_batch_size=0),
         "base_batch_size: expected a whole number of at least 1, received 0"),
        (dict(base_learning_rate=0),
         "base_learning_rate: expected a finite number above 0, received 0"),
    ],
)  # fmt: skip
def test_message(changes, message):
    with pytest.raises(UserError) as error:
        slow_start_plan(**(dict(epochs=90) | IMAGENET | changes))
    assert str(error.value) == message
