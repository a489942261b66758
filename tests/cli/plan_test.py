"""`lbkeras plan`: the numbers of the paper, as a table and as JSON."""

import json

import pytest

PAPER_UPDATES = {
    "original": 78_000,
    "increase_batch": 29_040,
    "hybrid": 34_320,
    "increased_learning_rate": 6_300,
    "increased_momentum": 2_160,
}
PHASE_KEYS = {
    "first_epoch", "epochs", "batch_size", "learning_rate", "momentum", "steps_per_epoch",
    "noise_scale",
}  # fmt: skip


@pytest.fixture
def arms(succeeds, smith):
    data = json.loads(succeeds("plan", f"--config={smith}:paper_cifar10", "--format=json"))
    assert list(data) == ["arms"]
    return data["arms"]


def test_json_has_the_updates_of_the_paper_in_the_configs_order(arms):
    assert {name: arms[name]["updates"] for name in PAPER_UPDATES} == PAPER_UPDATES
    assert list(arms) == [*PAPER_UPDATES, "large_batch_naive"]


def test_json_has_the_structure_of_the_contract(arms):
    for plan in arms.values():
        assert {"updates", "examples", "phases"} <= set(plan)
        assert all(set(phase) == PHASE_KEYS for phase in plan["phases"])
        steps = [phase["epochs"] * phase["steps_per_epoch"] for phase in plan["phases"]]
        batches = [phase["batch_size"] for phase in plan["phases"]]
        assert plan["updates"] == sum(steps)
        assert plan["examples"] == sum(s * b for s, b in zip(steps, batches, strict=True))


def test_noise_scale_falls_by_exactly_five_at_each_boundary(arms):
    for plan in arms.values():
        scales = [phase["noise_scale"] for phase in plan["phases"]]
        assert len(scales) == 4
        assert [a / b for a, b in zip(scales, scales[1:], strict=False)] == pytest.approx(
            [5.0] * 3, rel=1e-12
        )


def test_table_compares_the_updates_with_the_first_arm(succeeds, smith):
    table = succeeds("plan", f"--config={smith}:paper_cifar10")
    assert "increased_momentum" in table
    summary = [line.split() for line in table.splitlines() if "updates" in line]
    assert summary[0] == ["original", "78,000", "updates"]
    assert summary[1] == ["increase_batch", "29,040", "updates", "2.69x", "fewer"]


def test_overrides_reach_every_arm(succeeds, smith):
    flags = ["--config.plan.epochs=4", "--config.plan.boundaries=(1,2,3)", "--format=json"]
    arms = json.loads(succeeds("plan", f"--config={smith}:digits", *flags))["arms"]
    assert {sum(phase["epochs"] for phase in plan["phases"]) for plan in arms.values()} == {4}
