"""Smith's arms have the paper's numbers."""

from pathlib import Path

import pytest

from configs.papers.smith2018 import get_claims
from lbkeras.cli.config_files import load_config
from lbkeras.runs import experiment

SMITH = Path(__file__).parents[2] / "configs" / "papers" / "smith2018.py"


@pytest.mark.parametrize("variant", ["digits", "mnist", "characters", "cifar10", "paper_cifar10"])
def test_smiths_arms_start_at_the_same_noise_scale(variant):
    plans = experiment.make_plans(load_config(f"{SMITH}:{variant}"))
    naive = plans.pop("large_batch_naive")
    original = plans["original"]
    for plan in plans.values():
        for ours, theirs in zip(plan.phases, original.phases, strict=True):
            scale = plan.noise_scale(ours.first_epoch)
            assert scale == pytest.approx(original.noise_scale(theirs.first_epoch), rel=1e-9)
    assert naive.noise_scale(0) < original.noise_scale(0)


def test_a_gpu_trains_the_table_in_half_the_epochs():
    """Updates computed by hand: 50,000 images, phases of 30, 30, 20 and 20 epochs."""
    plans = experiment.make_plans(load_config(f"{SMITH}:gpu_cifar10"))
    updates = {
        "original": 100 * 390,
        "increase_batch": 30 * 390 + 30 * 78 + 20 * 15 + 20 * 9,
        "increased_learning_rate": 30 * 78 + 30 * 15 + 40 * 9,
        "increased_momentum": 30 * 15 + 70 * 9,
    }
    assert {arm: plan.updates() for arm, plan in plans.items()} == updates
    claims = get_claims("gpu_cifar10")
    assert claims and {c["arm"] for c in claims} | {c["baseline"] for c in claims} == set(plans)


def test_characters_have_the_schedules_of_images():
    """Updates follow from the phases' batch sizes: 15,685 windows, the remainder dropped."""
    config = load_config(f"{SMITH}:characters")
    plans = experiment.make_plans(config)
    assert list(plans) == list(load_config(f"{SMITH}:digits").arms)
    # 1,115,394 characters; the first 90 %, less one, in windows of 64.
    assert config.data.num_examples == (1_115_394 * 90 // 100 - 1) // 64
    batches = dict(
        original=[32] * 4,
        increase_batch=[32, 160, 800, 1568],
        hybrid=[32, 160, 160, 160],
        increased_learning_rate=[160, 800, 1568, 1568],
        increased_momentum=[800, 1568, 1568, 1568],
        large_batch_naive=[1568] * 4,
    )
    for arm, sizes in batches.items():
        updates = sum(
            epochs * (15_685 // size) for epochs, size in zip((3, 3, 2, 2), sizes, strict=True)
        )
        assert plans[arm].updates() == updates
    settings = experiment.arm_settings(config)
    assert settings["data"]["test_split"] == "test"
    assert settings["optimizer"]["global_clipnorm"] == 1.0


def test_the_rate_of_characters_is_chosen_on_the_validation_part():
    tuning = load_config(f"{SMITH}:characters_tuning")
    reported = experiment.arm_settings(load_config(f"{SMITH}:characters"))
    rates = []
    for arm in tuning.arms:
        settings = experiment.arm_settings(tuning, arm)
        rates.append(settings["plan"]["learning_rate"])
        assert settings["data"] == reported["data"] | dict(test_split="validation")
        assert settings["model"] == reported["model"]
        assert settings["optimizer"] == reported["optimizer"]
        assert settings["plan"] | dict(learning_rate=0) == reported["plan"] | dict(learning_rate=0)
    assert rates == pytest.approx([rates[0] * 2**i for i in range(5)])
    assert reported["plan"]["learning_rate"] in rates
    seeds = map(experiment.seeds, (tuning, load_config(f"{SMITH}:characters")))
    assert not set.intersection(*map(set, seeds))


def test_smiths_optimizer_arms_are_the_optimizers_they_name():
    config = load_config(f"{SMITH}:optimizers")
    expected = {
        "sgd": ({"name": "SGD"}, 0.0),
        "momentum": ({"name": "SGD"}, 0.9),
        "nesterov": ({"name": "SGD", "nesterov": True}, 0.9),
        "adam": ({"name": "Adam"}, 0.0),
    }
    for arm in config.arms:
        settings = experiment.arm_settings(config, arm)
        optimizer, momentum = expected[arm.split("_")[0]]
        assert settings["optimizer"] == optimizer
        assert settings["plan"]["momentum"] == momentum


# Updates, batch size and learning rate of each phase, and momentum: PAPERS.md, "Update-count
# arithmetic" and what follows from it.
IMAGENET = dict(
    imagenet=dict(
        inception_decay=(14_040, [(8192, 3.0), (8192, 0.3), (8192, 0.03), (8192, 0.003)], 0.9),
        inception_increase_batch=(
            5_580, [(8192, 3.0), (81_920, 3.0), (81_920, 0.3), (81_920, 0.03)], 0.9
        ),
    ),
    imagenet_momentum=dict(
        momentum_0_9=(5_820, [(8192, 3.0), (65_536, 2.4), (65_536, 0.24), (65_536, 0.024)], 0.9),
        momentum_0_95=(
            3_480, [(16_384, 3.0), (65_536, 1.2), (65_536, 0.12), (65_536, 0.012)], 0.95
        ),
        momentum_0_975=(
            2_310, [(32_768, 3.0), (65_536, 0.6), (65_536, 0.06), (65_536, 0.006)], 0.975
        ),
    ),
    imagenet_tpu=dict(
        resnet50_decay=(14_040, [(8192, 3.2), (8192, 0.32), (8192, 0.032), (8192, 0.0032)], 0.9),
        resnet50_increase_batch=(
            9_360, [(8192, 3.2), (16_384, 0.64), (16_384, 0.064), (16_384, 0.0064)], 0.9
        ),
        resnet50_doubled=(
            7_020, [(16_384, 6.4), (16_384, 0.64), (16_384, 0.064), (16_384, 0.0064)], 0.9
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize("variant", IMAGENET)
def test_published_schedules_of_imagenet(variant):
    plans = experiment.make_plans(load_config(f"{SMITH}:{variant}"))
    assert list(plans) == list(IMAGENET[variant])
    for arm, (updates, settings, momentum) in IMAGENET[variant].items():
        plan = plans[arm]
        assert plan.updates() == updates
        assert [phase.first_epoch for phase in plan.phases] == [0, 30, 60, 80]
        assert [phase.batch_size for phase in plan.phases] == [size for size, _ in settings]
        rates = [plan.learning_rate(phase.first_epoch + 5) for phase in plan.phases]
        assert rates == pytest.approx([rate for _, rate in settings], rel=1e-12)
        assert {phase.momentum for phase in plan.phases} == {momentum}
        # All arms have the same noise scale after any warm-up.
        first = plans[next(iter(plans))]
        for epoch in (5, 30, 60, 80):
            assert plan.noise_scale(epoch) == pytest.approx(first.noise_scale(epoch), rel=1e-12)
        assert plan.learning_rate(0) == (0.1 if variant == "imagenet_tpu" else settings[0][1])


def test_inception_is_trained_at_299_pixels_with_ghost_batches():
    for variant, ghosts in (("imagenet", 32), ("imagenet_momentum", 64)):
        settings = experiment.arm_settings(load_config(f"{SMITH}:{variant}"))
        assert settings["data"]["image_size"] == 299
        assert settings["model"]["ghost_batch_size"] == ghosts
