import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lbkeras.errors import UserError
from lbkeras.planning import noise_scale_plan

CIFAR = dict(
    epochs=200, boundaries=(60, 120, 160), factor=5, learning_rate=0.1, momentum=0.9,
    batch_size=128, num_examples=50_000, max_batch_size=5120,
)  # fmt: skip
IMAGENET = dict(
    strategy="increase_batch", epochs=90, boundaries=[30, 60, 80], factor=10, learning_rate=3.0,
    momentum=0.9, batch_size=8192, num_examples=1_281_167, max_batch_size=65_536,
)  # fmt: skip
RAISED_RATE = dict(increased_learning_rate=0.5)
RAISED_BOTH = dict(increased_learning_rate=0.5, increased_momentum=0.98)


def _settings(plan):
    return [(phase.batch_size, phase.learning_rate) for phase in plan.phases]


@pytest.mark.parametrize(
    ("arguments", "settings", "updates"),
    # Smith et al. 2018: each phase's batch size and learning rate, and the number of updates.
    [
        (
            dict(CIFAR, strategy="decay_learning_rate"),
            [(128, 0.1), (128, 0.02), (128, 0.004), (128, 0.0008)],
            78_000,
        ),
        (
            dict(CIFAR, strategy="hybrid"),
            [(128, 0.1), (640, 0.1), (640, 0.02), (640, 0.004)],
            34_320,
        ),
        (
            dict(CIFAR, strategy="increase_batch"),
            [(128, 0.1), (640, 0.1), (3200, 0.1), (5120, 0.032)],
            29_040,
        ),
        (
            dict(CIFAR, strategy="increase_batch", **RAISED_RATE),
            [(640, 0.5), (3200, 0.5), (5120, 0.16), (5120, 0.032)],
            6_300,
        ),
        (
            dict(CIFAR, strategy="increase_batch", **RAISED_BOTH),
            [(3200, 0.5), (5120, 0.16), (5120, 0.032), (5120, 0.0064)],
            2_160,
        ),
        (
            dict(CIFAR, strategy="decay_learning_rate", **RAISED_RATE),
            [(640, 0.5), (640, 0.1), (640, 0.02), (640, 0.004)],
            15_600,
        ),
        (IMAGENET, [(8192, 3.0), (65_536, 2.4), (65_536, 0.24), (65_536, 0.024)], 5_820),
        (
            dict(IMAGENET, increased_momentum=0.95),
            [(16_384, 3.0), (65_536, 1.2), (65_536, 0.12), (65_536, 0.012)],
            3_480,
        ),
        (
            dict(IMAGENET, increased_momentum=0.975),
            [(32_768, 3.0), (65_536, 0.6), (65_536, 0.06), (65_536, 0.006)],
            2_310,
        ),
        (
            dict(IMAGENET, strategy="hybrid", max_batch_size=81_920),
            [(8192, 3.0), (81_920, 3.0), (81_920, 0.3), (81_920, 0.03)],
            5_580,
        ),
    ],
)
def test_smiths_schedules(arguments, settings, updates):
    plan = noise_scale_plan(**arguments)
    assert _settings(plan) == settings  # To the last bit: the printed decimals.
    assert plan.updates() == updates
    momentum = arguments.get("increased_momentum", 0.9)
    assert {phase.momentum for phase in plan.phases} == {momentum}


def test_starting_points_share_a_noise_scale():
    for raised in ({}, RAISED_RATE, RAISED_BOTH):
        plan = noise_scale_plan(strategy="increase_batch", **CIFAR, **raised)
        assert plan.noise_scale(0) / 50_000 == pytest.approx(0.0078125, rel=1e-13)


def test_a_warm_up_replaces_the_first_epochs_and_nothing_else():
    """Goyal et al. to epoch 30, then Smith et al."""
    warmup = dict(warmup_epochs=5, warmup_initial=0.1)
    plan = noise_scale_plan(**dict(IMAGENET, learning_rate=3.2, max_batch_size=16_384, **warmup))
    rates = [plan.learning_rate(epoch) for epoch in (0, 2.5, 5, 29.9, 30, 60, 80)]
    assert rates == pytest.approx([0.1, 1.65, 3.2, 3.2, 0.64, 0.064, 0.0064])
    assert [phase.batch_size for phase in plan.phases] == [8192, 16_384, 16_384, 16_384]
    assert plan.updates() == 30 * 156 + 60 * 78


def test_the_default_maximum_is_a_tenth_of_the_data():
    plan = noise_scale_plan(**dict(CIFAR, strategy="increase_batch", max_batch_size=None))
    assert _settings(plan)[-1] == (5000, pytest.approx(0.1 * 5000 / 16_000))


def test_a_factor_for_each_boundary():
    plan = noise_scale_plan(**dict(CIFAR, strategy="increase_batch", factor=[2, 4, 2.5]))
    assert _settings(plan) == [(128, 0.1), (256, 0.1), (1024, 0.1), (2560, 0.1)]


def test_no_boundaries():
    plan = noise_scale_plan(**dict(CIFAR, strategy="hybrid", boundaries=[]))
    assert _settings(plan) == [(128, 0.1)] and plan.epochs == 200


@st.composite
def arguments(draw):
    num_examples = draw(st.integers(10, 2_000_000))
    batch_size = draw(st.integers(1, num_examples))
    epochs = draw(st.integers(2, 300))
    boundaries = sorted(draw(st.sets(st.integers(1, epochs - 1), max_size=5)))
    factors = st.floats(1.01, 20)
    count = len(boundaries)
    return dict(
        strategy=draw(st.sampled_from(["decay_learning_rate", "increase_batch", "hybrid"])),
        epochs=epochs,
        boundaries=boundaries,
        factor=draw(factors | st.lists(factors, min_size=count, max_size=count)),
        learning_rate=draw(st.floats(1e-4, 30)),
        momentum=draw(st.floats(0, 0.99)),
        batch_size=batch_size,
        num_examples=num_examples,
        max_batch_size=draw(st.integers(batch_size, num_examples)),
    )


@given(arguments())
def test_properties(arguments):
    plan = noise_scale_plan(**arguments)
    factor, count = arguments["factor"], len(arguments["boundaries"])
    factors = factor if isinstance(factor, list) else [factor] * count
    scales = [plan.noise_scale(phase.first_epoch) for phase in plan.phases]
    for (before, after), fall in zip(itertools.pairwise(scales), factors, strict=True):
        assert before / after == pytest.approx(fall, rel=1e-12)
    sizes = [phase.batch_size for phase in plan.phases]
    assert sizes == sorted(sizes) and sizes[0] == arguments["batch_size"]
    assert max(sizes) <= arguments["max_batch_size"]
    for before, after in itertools.pairwise(plan.phases):
        # Only rounding the batch, by half an example per phase, can raise the learning rate.
        slack = 0.5 / before.batch_size + 0.5 / after.batch_size
        assert after.learning_rate <= before.learning_rate * (1 + slack) * (1 + 1e-12)
    everything = plan.epochs * plan.num_examples
    assert plan.examples() <= everything
    assert everything - plan.examples() < sum(p.epochs * p.batch_size for p in plan.phases)
    assert plan.first_update(plan.epochs) == plan.updates()
    assert sum(plan.steps_per_epoch(epoch) for epoch in range(plan.epochs)) == plan.updates()


@given(st.integers(1, 512), st.floats(1, 32), st.floats(0, 0.99), st.floats(0, 0.99))
def test_increased_values_keep_the_noise_scale_up_to_half_an_example(size, times, one, other):
    low, high = sorted((one, other))
    assume(size * times * (1 - low) / (1 - high) < 10**6 - 1)
    base = dict(
        strategy="decay_learning_rate", epochs=3, boundaries=[1], factor=5, learning_rate=0.1,
        momentum=low, batch_size=size, num_examples=10**6,
    )  # fmt: skip
    plan = noise_scale_plan(**base)
    raised = noise_scale_plan(**base, increased_learning_rate=0.1 * times, increased_momentum=high)
    assert raised.noise_scale(0) == pytest.approx(
        plan.noise_scale(0), rel=0.51 / raised.batch_size(0) + 1e-9
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            dict(strategy="increase_batchsize"),
            "strategy: expected one of 'decay_learning_rate', 'increase_batch', 'hybrid', "
            "received 'increase_batchsize' (did you mean 'increase_batch'?)",
        ),
        (dict(epochs=0), "epochs: expected a whole number of at least 1, received 0"),
        (
            dict(boundaries=(120, 60, 160)),
            "boundaries: expected epochs in increasing order inside (0, 200), "
            "received (120, 60, 160)",
        ),
        (
            dict(boundaries=(60, 60)),
            "boundaries: expected epochs in increasing order inside (0, 200), received (60, 60)",
        ),
        (
            dict(boundaries=[0, 60]),
            "boundaries: expected epochs in increasing order inside (0, 200), received (0, 60)",
        ),
        (
            dict(boundaries=[200]),
            "boundaries: expected epochs in increasing order inside (0, 200), received (200,)",
        ),
        (dict(boundaries=[60.5]), "boundaries[0]: expected a whole number, received 60.5"),
        (dict(boundaries=60), "boundaries: expected a list or tuple, received 60"),
        (
            dict(warmup_epochs=60),
            "warmup_epochs: expected a number of at least 0 and below 60, where the first phase "
            "ends, received 60",
        ),
        (
            dict(warmup_epochs=5, warmup_initial=-1),
            "warmup_initial: expected a finite number of at least 0, received -1",
        ),
        (dict(factor=1), "factor: expected a finite number above 1, received 1"),
        (
            dict(factor=(5, 0.2, 5)),
            "factor[1]: expected a finite number above 1, received 0.2",
        ),
        (
            dict(factor=[5, 5]),
            "factor: expected one number, or 3, one per boundary, received 2",
        ),
        (dict(factor="5"), "factor: expected a finite number above 1, received '5'"),
        (
            dict(learning_rate=-0.1),
            "learning_rate: expected a finite number above 0, received -0.1",
        ),
        (dict(momentum=1), "momentum: expected a number in [0, 1), received 1"),
        (dict(batch_size=0), "batch_size: expected a whole number of at least 1, received 0"),
        (
            dict(batch_size=60_000),
            "batch_size: expected at most num_examples=50000, received 60000",
        ),
        (
            dict(num_examples=0),
            "num_examples: expected a whole number of at least 1, received 0",
        ),
        (
            dict(max_batch_size=64),
            "max_batch_size: expected at least the start batch size 128, received 64",
        ),
        (
            dict(max_batch_size=600, increased_learning_rate=0.5),
            "max_batch_size: expected at least the start batch size 640, received 600",
        ),
        (
            dict(max_batch_size=None, batch_size=8192),
            "max_batch_size: expected at least the start batch size 8192, "
            "received the default num_examples//10=5000",
        ),
        (
            dict(max_batch_size=60_000),
            "max_batch_size: expected at most num_examples=50000, received 60000",
        ),
        (
            dict(max_batch_size=0),
            "max_batch_size: expected a whole number of at least 1, received 0",
        ),
        (
            dict(increased_learning_rate=0.05),
            "increased_learning_rate: expected at least learning_rate=0.1, received 0.05",
        ),
        (
            dict(increased_momentum=0.5),
            "increased_momentum: expected at least momentum=0.9, received 0.5",
        ),
        (
            dict(increased_momentum=1.0),
            "increased_momentum: expected a number in [0, 1), received 1.0",
        ),
        (
            dict(increased_learning_rate=50),
            "batch_size: expected at most num_examples=50000 after raising it for the increased "
            "values, received 64000",
        ),
    ],
)
def test_message(changes, message):
    with pytest.raises(UserError) as error:
        noise_scale_plan(**{"strategy": "increase_batch", **CIFAR, **changes})
    assert str(error.value) == message
