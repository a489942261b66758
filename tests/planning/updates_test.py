import pytest

from lbkeras.errors import UserError
from lbkeras.planning import Phase, Plan, count_updates

CIFAR, IMAGENET = 50_000, 1_281_167


@pytest.mark.parametrize(
    ("num_examples", "stretches", "drop", "exact", "keep"),
    # PAPERS.md, "Update-count arithmetic": floor, exact and ceil columns.
    [
        (CIFAR, [(200, 128)], 78_000, 78_125.0, 78_200),
        (CIFAR, [(60, 128), (60, 640), (40, 3200), (40, 5120)], 29_040, 29_140.6, 29_240),
        (CIFAR, [(60, 128), (60, 640), (40, 3200), (40, 16_000)], 28_800, 28_875.0, 29_000),
        (CIFAR, [(60, 128), (60, 640), (80, 3200)], 29_280, 29_375.0, 29_480),
        (CIFAR, [(60, 128), (140, 640)], 34_320, 34_375.0, 34_520),
        (CIFAR, [(60, 640), (60, 3200), (80, 5120)], 6_300, 6_406.2, 6_500),
        (CIFAR, [(60, 640), (140, 3200)], 6_780, 6_875.0, 6_980),
        (CIFAR, [(60, 3200), (140, 5120)], 2_160, 2_304.7, 2_360),
        (CIFAR, [(200, 3200)], 3_000, 3_125.0, 3_200),
        (CIFAR, [(6400, 4096)], 76_800, 78_125.0, 83_200),
        (CIFAR, [(8, 2000)], 200, 200.0, 200),
        (IMAGENET, [(90, 8192)], 14_040, 14_075.3, 14_130),
        (IMAGENET, [(30, 8192), (60, 81_920)], 5_580, 5_630.1, 5_670),
        (IMAGENET, [(30, 8192), (60, 65_536)], 5_820, 5_864.7, 5_910),
        (IMAGENET, [(30, 16_384), (60, 65_536)], 3_480, 3_518.8, 3_570),
        (IMAGENET, [(30, 32_768), (60, 65_536)], 2_310, 2_345.9, 2_400),
        (IMAGENET, [(30, 8192), (60, 16_384)], 9_360, 9_383.5, 9_450),
        (IMAGENET, [(90, 32_768)], 3_510, 3_518.8, 3_600),
        (IMAGENET, [(90, 256)], 450_360, 450_410.3, 450_450),
        (IMAGENET, [(64, 32_768)], 2_496, 2_502.3, 2_560),
        (IMAGENET, [(90, 98_304)], 1_170, 1_172.9, 1_260),
        (IMAGENET, [(120, 4096)], 37_440, 37_534.2, 37_560),
        (IMAGENET, [(77, 57_344)], 1_694, 1_720.3, 1_771),
    ],
)
def test_paper_arithmetic(num_examples, stretches, drop, exact, keep):
    epoch, phases = 0, []
    for epochs, batch_size in stretches:
        phases.append(Phase(epoch, epochs, batch_size, 0.1, 0.9))
        epoch += epochs
    plan = Plan(phases, num_examples)
    assert plan.updates() == plan.updates("drop") == drop
    assert plan.updates("keep") == keep
    assert drop <= plan.updates("carry") <= keep
    # Each phase ends within one of its own batches; the "exact" column is rounded to 0.1.
    assert exact - 0.05 - len(phases) < plan.updates("carry") <= exact + 0.05
    assert plan.examples() <= plan.updates("carry") * max(size for _, size in stretches)


@pytest.mark.parametrize(
    ("stretches", "expected"),
    [
        ([(1, 4)], 2),  # 10 = 4 + 4 + 2 dropped
        ([(2, 4)], 5),  # 20 = 5 · 4
        ([(1, 4), (1, 6)], 4),  # 2 left over; 12 = 2 · 6
        ([(1, 4), (1, 10)], 3),  # 2 left over; 12 = 10 + 2 dropped
        ([(1, 9), (1, 3)], 4),  # 1 left over; 11 = 3 · 3 + 2 dropped
    ],
)
def test_carry_crosses_epochs_and_phases(stretches, expected):
    assert count_updates(stretches, 10, "carry") == expected


def test_message():
    with pytest.raises(UserError) as error:
        count_updates([(1, 4)], 10, "carryover")
    assert str(error.value) == (
        "remainder: expected one of 'drop', 'keep', 'carry', received 'carryover' "
        "(did you mean 'carry'?)"
    )
