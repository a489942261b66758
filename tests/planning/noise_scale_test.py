import pytest

from lbkeras.errors import UserError
from lbkeras.planning import accumulator_epochs, exact_noise_scale, noise_scale


def test_smiths_starting_points_share_a_noise_scale():
    # ε/(B(1−m)) = 0.0078125 for each.
    for learning_rate, momentum, batch_size in (
        (0.1, 0.9, 128),
        (0.5, 0.9, 640),
        (0.5, 0.98, 3200),
    ):
        ratio = noise_scale(learning_rate, momentum, batch_size, 50_000) / 50_000
        assert ratio == pytest.approx(0.0078125, rel=1e-13)


@pytest.mark.parametrize(("batch_size", "below"), [(5120, 0.1024), (128, 0.00256)])
def test_exact_noise_scale_is_lower_by_the_batchs_share(batch_size, below):
    approximate = noise_scale(0.1, 0.9, batch_size, 50_000)
    exact = exact_noise_scale(0.1, 0.9, batch_size, 50_000)
    assert 1 - exact / approximate == pytest.approx(below)


def test_the_whole_data_set_has_no_noise():
    assert exact_noise_scale(0.1, 0.9, 50_000, 50_000) == 0


@pytest.mark.parametrize(
    ("momentum", "batch_size", "num_examples", "expected"),
    [
        (0.9, 128, 50_000, 0.026),
        (0.98, 3200, 50_000, 3.2),
        (0.98, 5120, 50_000, 5.1),
        (0.9, 8192, 1_281_167, 0.06),
        (0.975, 32_768, 1_281_167, 1.0),
        (0.975, 65_536, 1_281_167, 2.0),
    ],
)
def test_accumulator_epochs(momentum, batch_size, num_examples, expected):
    assert accumulator_epochs(momentum, batch_size, num_examples) == pytest.approx(
        expected, rel=0.07
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0.9, 8, 80), "learning_rate: expected a finite number of at least 0, received -1"),
        ((0.1, 1, 8, 80), "momentum: expected a number in [0, 1), received 1"),
        ((0.1, 0.9, 0, 80), "batch_size: expected a whole number of at least 1, received 0"),
        ((0.1, 0.9, 8, 0), "num_examples: expected a whole number of at least 1, received 0"),
    ],
)
def test_message(arguments, message):
    for function in (noise_scale, exact_noise_scale):
        with pytest.raises(UserError) as error:
            function(*arguments)
        assert str(error.value) == message
