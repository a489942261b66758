"""`--config.KEY=VALUE`: keys that the config lacks, all arms, one arm, boundaries."""

import json

import pytest

CONFIG = """
def get_config():
    return dict(
        data=dict(name="digits", num_examples=1437),
        model=dict(name="small_cnn", num_classes=10),
        plan=dict(name="noise_scale_plan", strategy="hybrid", epochs=10, boundaries=(4, 8),
                  factor=2.0, batch_size=32, learning_rate=0.1, momentum=0.9),
        arms=dict(
            inherits={},
            sets=dict(plan=dict(epochs=20)),
            whole=dict(plan=dict(name="cosine_plan", epochs=30, batch_size=64, learning_rate=0.1,
                                 momentum=0.9)),
        ),
    )
"""


@pytest.fixture
def plans(tmp_path, succeeds):
    """Returns each arm's epochs and first batch size, as `plan` prints them for the flags."""
    (tmp_path / "three_arms.py").write_text(CONFIG)

    def make(*flags):
        out = succeeds("plan", f"--config={tmp_path / 'three_arms.py'}", "--format=json", *flags)
        arms = json.loads(out)["arms"]
        return {
            name: (sum(p["epochs"] for p in arm["phases"]), arm["phases"][0]["batch_size"])
            for name, arm in arms.items()
        }

    return make


@pytest.fixture
def refused(tmp_path, fails):
    (tmp_path / "three_arms.py").write_text(CONFIG)
    return lambda *flags: fails("plan", f"--config={tmp_path / 'three_arms.py'}", *flags)


def test_a_value_reaches_every_arm(plans):
    assert plans() == {"inherits": (10, 32), "sets": (20, 32), "whole": (30, 64)}
    assert plans("--config.plan.epochs=9") == {
        "inherits": (9, 32), "sets": (9, 32), "whole": (9, 64)
    }  # fmt: skip
    assert plans("--config.plan.batch_size=16")["whole"] == (30, 16)


def test_a_target_can_be_set(refused):
    flag = "--config.targets.val_accuracy"
    assert refused(f"{flag}=90", "--config.plan.epochs=0").startswith("arm inherits: plan.epochs")
    assert "config.targets.val_accuracy: expected a number" in refused(f"{flag}=many")


def test_a_value_set_for_one_arm_wins_in_any_order(plans):
    for flags in (
        ("--config.plan.epochs=9", "--config.arms.sets.plan.epochs=12"),
        ("--config.arms.sets.plan.epochs=12", "--config.plan.epochs=9"),
    ):
        assert plans(*flags) == {"inherits": (9, 32), "sets": (12, 32), "whole": (9, 64)}
    assert plans("--config.arms.inherits.plan.batch_size=48")["inherits"] == (10, 48)


def test_it_says_where_a_value_replaces_an_arms_own(tmp_path, capsys, plans):
    plans("--config.plan.epochs=9")
    from lbkeras.cli.main import main

    main(["plan", f"--config={tmp_path / 'three_arms.py'}", "--config.plan.epochs=9"])
    assert capsys.readouterr().err == (
        "plan.epochs=9 in every arm, instead of 20 in sets, 30 in whole\n"
    )


def test_what_a_component_takes_can_be_added(plans, refused):
    plans(
        "--config.optimizer.nesterov=True",
        "--config.arms.whole.optimizer.clipnorm=1.0",
        "--config.model.ghost_batch_size=8",
        "--config.loss.ignore_class=3",
        "--config.metrics.AUC.num_thresholds=5",
        "--config.callbacks.GradientNoiseScale.probe_examples=64",
        "--config.metric=val_loss",
    )
    assert plans("--config.arms.whole.plan.warmup_epochs=2.5")["whole"] == (30, 64)
    message = refused("--config.optimizer.clipnrom=1.0")
    assert message.startswith("config.optimizer: expected one of name, nesterov, weight_decay, ")
    assert message.endswith("received 'clipnrom' (did you mean 'clipnorm'?)")
    message = refused("--config.optimizer.momentum=0.5")
    assert message.startswith("config.optimizer.momentum: expected none, as the plan sets it (pl")
    assert refused("--config.callbacks.GradientNoisScale.every=1").endswith(
        "received 'GradientNoisScale' (did you mean 'GradientNoiseScale'?)"
    )
    assert refused("--config.arms.whole.optimizr.clipnorm=1.0").startswith("config.arms.whole: ")
    assert "expected one of" in refused("--config.plan.num_examples=3")


def test_an_added_value_reaches_the_arms(tmp_path):
    from lbkeras.cli.command_flags import CommandFlags
    from lbkeras.runs import experiment

    (tmp_path / "three_arms.py").write_text(CONFIG)
    flags = (
        "optimizer.nesterov=true", "optimizer.weight_decay=1e-4", "arms.sets.model.width=4",
        "arms.whole.optimizer.clipnorm=1",
    )  # fmt: skip
    config = f"--config={tmp_path / 'three_arms.py'}"
    command = CommandFlags("", ["train", config, *(f"--config.{flag}" for flag in flags)])
    command.config()
    config = command.parse().config
    of = {arm: experiment.arm_settings(config, arm) for arm in config.arms}
    everywhere = {"name": "SGD", "nesterov": True, "weight_decay": 1e-4}
    assert of["inherits"]["optimizer"] == of["sets"]["optimizer"] == everywhere
    assert of["whole"]["optimizer"] == everywhere | {"clipnorm": 1}
    assert [each["model"].get("width") for each in of.values()] == [None, 4, None]


@pytest.mark.parametrize(("epochs", "works"), [(5, "(2, 4)"), (2, "(1,)"), (1, "()")])
def test_boundaries_that_no_longer_fit(epochs, works, refused, plans, tmp_path):
    message = refused(f"--config.plan.epochs={epochs}")
    flag = f"--config.plan.boundaries={works}"
    assert message == (
        f"arm inherits: plan.boundaries: expected epochs in increasing order inside (0, {epochs}), "
        f"received (4, 8); this works: lbkeras plan --config={tmp_path / 'three_arms.py'} "
        f"--config.plan.epochs={epochs} '{flag}'"
    )
    assert plans(f"--config.plan.epochs={epochs}", flag)["sets"] == (epochs, 32)


def test_only_the_trained_arms_boundaries_count(tmp_path, fails):
    (tmp_path / "three_arms.py").write_text(CONFIG)
    flags = f"--config={tmp_path / 'three_arms.py'}", "--config.plan.epochs=2"
    assert "this works: lbkeras train " in fails("train", *flags, "--workdir=w")
    assert fails("train", *flags, "--workdir=/dev/null", "--arm=whole").startswith("workdir ")


def test_rates_go_with_their_boundaries(tmp_path, fails, succeeds):
    text = CONFIG.replace('"noise_scale_plan", strategy="hybrid"', '"steps_plan"').replace(
        "factor=2.0, batch_size=32, learning_rate=0.1", "batch_size=32, learning_rates=(4, 2, 1)"
    )
    (tmp_path / "steps.py").write_text(text)
    flags = f"--config={tmp_path / 'steps.py'}", "--config.plan.epochs=2"
    works = "'--config.plan.boundaries=(1,)' '--config.plan.learning_rates=(4, 2)'"
    assert fails("plan", *flags).endswith(works)
    succeeds("plan", *flags, *works.replace("'", "").replace(", 2", ",2").split())
