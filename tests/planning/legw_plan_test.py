"""Compares LEGW with another implementation's test vectors and the paper's ImageNet rows."""

import pytest

from lbkeras.errors import UserError
from lbkeras.planning import legw_plan

IMAGENET = dict(
    epochs=90,
    base_batch_size=1024,
    batch_size=1024,
    base_learning_rate=2**2.5,
    base_warmup_epochs=10 / 32,
    momentum=0.9,
    num_examples=1_281_167,
)


@pytest.mark.parametrize(
    ("progress", "factors"),
    [
        (5, {1: 1 / 20, 4: 1 / 40, 9: 1 / 60, 16: 1 / 80, 25: 1 / 100}),
        (400, {1: 1, 4: 2, 9: 4 / 3, 16: 1, 25: 0.8}),
    ],
)
def test_vectors_of_another_implementation(progress, factors):
    # Ten warm-up epochs of 10 steps of the base batch; progress is counted in steps of that batch.
    for ratio, factor in factors.items():
        plan = legw_plan(
            epochs=300, base_batch_size=10_000, batch_size=10_000 * ratio, base_learning_rate=1.0,
            base_warmup_epochs=10, momentum=0.9, num_examples=250_000)  # fmt: skip
        # There, a step has 100 of 1,000 examples: a tenth of an epoch.
        assert plan.learning_rate(progress / 10) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("doublings", range(6))
def test_imagenet_rows(doublings):
    plan = legw_plan(
        **IMAGENET | dict(batch_size=1024 * 2**doublings, decay="polynomial", power=2.0)
    )
    warmup, peak = 10 / 2 ** (5 - doublings), 2 ** (2.5 + doublings / 2)
    assert plan.learning_rate(warmup) == pytest.approx(peak, rel=1e-12)
    assert plan.learning_rate(warmup / 4) == pytest.approx(peak / 4, rel=1e-12)
    middle = (90 + warmup) / 2
    assert plan.learning_rate(middle) == pytest.approx(peak / 4, rel=1e-12)
    assert plan.learning_rate(90) == 0 and plan.epochs == 90


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
def test_the_warm_up_takes_as_many_updates_at_any_batch_size(ratio):
    plan = legw_plan(**IMAGENET | dict(batch_size=1024 * ratio, num_examples=1_024_000))
    steps, peak = 1000 // ratio, ratio**0.5 * 2**2.5
    below = [plan.learning_rate(update / steps) < peak * (1 - 1e-9) for update in range(500)]
    assert below == [update < 312.5 for update in range(500)]  # 10/32 epochs of 1,000 updates


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        (dict(decay="constant"), lambda epoch: 0.4),
        (dict(decay="polynomial", power=3.0), lambda epoch: 0.4 * ((20 - epoch) / 18) ** 3),
        (dict(decay="exponential", factor=9.0), lambda epoch: 0.4 * 9 ** ((2 - epoch) / 18)),
        (
            dict(decay="steps", factor=2.0, boundaries=(10, 15)),
            lambda epoch: 0.4 / 2 ** ((epoch >= 10) + (epoch >= 15)),
        ),
    ],
)
@pytest.mark.parametrize("base_warmup_epochs", [0.5, 0])
def test_decays(decay, expected, base_warmup_epochs):
    plan = legw_plan(
        epochs=20, base_batch_size=100, batch_size=400, base_learning_rate=0.2, momentum=0.0,
        base_warmup_epochs=base_warmup_epochs, num_examples=1000, **decay)  # fmt: skip
    if base_warmup_epochs:
        assert plan.learning_rate(0) == 0
        assert plan.learning_rate(1) == pytest.approx(0.2)
        for epoch in (2, 5, 9.5, 10, 14.5, 15, 19.5):
            assert plan.learning_rate(epoch) == pytest.approx(expected(epoch), rel=1e-12)
    else:
        assert plan.learning_rate(0) == pytest.approx(0.4)


def test_what_legw_is_compared_with():
    settings = IMAGENET | dict(batch_size=16_384)
    linear = legw_plan(**settings, scaling="linear", scale_warmup=False)
    assert linear.learning_rate(10 / 32) == pytest.approx(16 * 2**2.5)
    assert linear.learning_rate(5 / 32) == pytest.approx(8 * 2**2.5)
    unscaled = legw_plan(**settings, scaling="none")
    assert unscaled.learning_rate(5) == pytest.approx(2**2.5)
    assert unscaled.learning_rate(2.5) == pytest.approx(2**1.5)


def test_a_batch_below_the_base_warms_up_for_less_time():
    plan = legw_plan(**IMAGENET | dict(batch_size=256))
    assert plan.learning_rate(10 / 128) == pytest.approx(2**1.5)
    assert plan.learning_rate(5 / 128) == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(epochs=0), "epochs: expected a whole number of at least 1, received 0"),
        (dict(base_batch_size=0),
         "base_batch_size: expected a whole number of at least 1, received 0"),
        (dict(base_learning_rate=-1),
         "base_learning_rate: expected a finite number above 0, received -1"),
        (dict(base_warmup_epochs=-1),
         "base_warmup_epochs: expected a finite number of at least 0, received -1"),
        (dict(epochs=10, batch_size=32_768),
         "base_warmup_epochs: expected a warm-up that ends before epochs=10, received 0.3125, "
         "scaled to the batch size 10 epochs"),
        (dict(batch_size=32_768, decay="steps", boundaries=(5, 20)),
         "base_warmup_epochs: expected a warm-up that ends before boundaries[0]=5, received "
         "0.3125, scaled to the batch size 10 epochs"),
        (dict(decay="polynom"),
         "decay: expected one of 'constant', 'polynomial', 'exponential', 'steps', received "
         "'polynom' (did you mean 'polynomial'?)"),
        (dict(decay="steps"), "boundaries: expected epochs of the steps, received ()"),
        (dict(boundaries=(3,)), "boundaries: expected none with decay='constant', received (3,)"),
        (dict(factor=1), "factor: expected a finite number above 1, received 1"),
        (dict(scaling="root"),
         "scaling: expected one of 'square_root', 'linear', 'none', received 'root'"),
        (dict(scale_warmup=1), "scale_warmup: expected True or False, received 1"),
        (dict(batch_size=2_000_000),
         "batch_size: expected at most num_examples=1281167, received 2000000"),
    ],
)  # fmt: skip
def test_message(changes, message):
    with pytest.raises(UserError) as error:
        legw_plan(**(IMAGENET | changes))
    assert str(error.value) == message
