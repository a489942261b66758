"""Builds real workdirs, as `lbkeras replicate` and `lbkeras train` leave them."""

import json
import math

import pytest

from lbkeras.replication import pictures

HARDWARE = {
    "machine": "x86_64",
    "processor": "Test CPU",
    "cpu_count": 2,
    "memory_gb": 16.0,
    "accelerators": [],
}
VERSIONS = {"lbkeras": "0.1.0", "python": "3.12", "tensorflow": "2.21", "keras": "3.15.1"}
# The batch size of each arm by epoch, 60 epochs of 1,437 digits, steps at epochs 20 and 40.
BATCHES = {
    "original": (32, 32, 32),
    "increase_batch": (32, 160, 800),
    "increase_learning_rate": (160, 800, 800),
}
RATES = {
    "original": (0.1, 0.02, 0.004),
    "increase_batch": (0.1, 0.1, 0.1),
    "increase_learning_rate": (0.5, 0.5, 0.1),
}
CLAIMS = [
    {
        "name": "keeps_accuracy",
        "statement": "Increasing the batch keeps the accuracy.",
        "source": "Smith et al. 2018, section 5.2, Table 1",
        "tag": "secondary",
        "test": "not_worse",
        "arm": "increase_batch",
        "baseline": "original",
        "metric": "val_accuracy",
        "margin": 0.01,
        "paper": {"arm": 0.944, "baseline": 0.943},
    },
    {
        "name": "fewer_updates",
        "statement": "It needs 1.8 times fewer updates.",
        "source": "Table 1",
        "tag": "secondary",
        "test": "ratio_at_least",
        "arm": "increase_batch",
        "baseline": "original",
        "metric": "updates",
        "ratio": 1.8,
    },
]


def batches(arm):
    return BATCHES.get(arm, BATCHES["original"])


def rates(arm):
    return RATES.get(arm, RATES["original"])


def write_run(path, arm, seed, status="finished", epochs=60, final=None):
    """Writes a run folder with a plausible history; returns its record."""
    path.mkdir(parents=True)
    rows, updates = [], 0
    for epoch in range(epochs):
        batch, rate = batches(arm)[epoch // 20], rates(arm)[epoch // 20]
        steps = math.ceil(1437 / batch)
        updates += steps
        jitter = 0.004 * math.sin(7.3 * epoch + 2.1 * seed + len(arm)) / (1 + epoch / 10)
        accuracy = 0.97 - 0.25 * math.exp(-epoch / 5) + 0.002 * seed + jitter
        row = {"epoch": epoch, "updates": updates, "examples_seen": 1437 * (epoch + 1)}
        row |= {"batch_size": batch, "learning_rate": rate, "momentum": 0.9}
        row |= {"noise_scale": rate * 1437 / batch / 0.1, "loss": 0.01 + math.exp(-epoch / 6)}
        row |= {"accuracy": accuracy, "val_loss": 1 - accuracy, "val_accuracy": accuracy}
        row |= {"seconds": 0.1 + steps * 0.002 + 0.001 * seed, "examples_per_second": 1e4}
        rows.append(row)
    (path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = {"status": status, "arm": arm, "seed": seed, "config": "smith2018.py:digits"}
    record |= {"command": "lbkeras train", "versions": VERSIONS, "hardware": HARDWARE}
    record |= {"started": f"2025-03-0{seed + 1}T10:00:00", "updates": updates, "epochs": epochs}
    record |= {"finished": f"2025-03-0{seed + 1}T11:00:00" if status == "finished" else None}
    record |= {"seconds": sum(row["seconds"] for row in rows), "examples_seen": 1437 * epochs}
    record["final"] = {"val_accuracy": rows[-1]["val_accuracy"] if rows else None, "loss": 0.1}
    record["final"].update(final or {})
    if status == "diverged":
        record["error"] = f"the loss was nan in {path}"
    (path / "record.json").write_text(json.dumps(record))
    (path / "plan.json").write_text(json.dumps({"updates": updates}))
    return record


def write_workdir(path, statuses, claims=CLAIMS, **settings):
    """Writes a replication's folder from each arm's list of statuses by seed; None: not run."""
    path.mkdir(parents=True, exist_ok=True)
    arms = {arm: {"description": f"the arm {arm}", "paper": {}} for arm in statuses}
    first = next(iter(arms))
    arms[first]["paper"] = {
        "accuracy": 0.943,
        "updates": 80000,
        "tag": "secondary",
        "note": "one run",
    }
    plans = {}
    for arm in statuses:
        phases = [
            {
                "first_epoch": 20 * i,
                "epochs": 20,
                "batch_size": batch,
                "learning_rate": rate,
                "momentum": 0.9,
                "steps_per_epoch": math.ceil(1437 / batch),
                "noise_scale": rate * 1437 / batch / 0.1,
            }
            for i, (batch, rate) in enumerate(zip(batches(arm), rates(arm), strict=True))
        ]
        plans[arm] = {"num_examples": 1437, "updates": 1, "examples": 1, "phases": phases}
    replication = {
        "title": "Smith et al. 2018 on digits",
        "config": "configs/papers/smith2018.py:digits",
        "variant": "digits",
        "command": "lbkeras replicate --config=configs/papers/smith2018.py:digits",
        "paper": {"citation": "Smith et al. 2018", "arxiv": "1711.00489", "title": "Don't decay"},
        "dataset": "digits",
        "metric": "val_accuracy",
        "seeds": list(range(max(map(len, statuses.values())))),
        "arms": arms,
        "claims": claims,
        "plans": plans,
    }
    (path / "replication.json").write_text(json.dumps(replication | settings))
    for arm, outcomes in statuses.items():
        for seed, status in enumerate(outcomes):
            if status:
                epochs = 60 if status == "finished" else 13
                write_run(path / arm / f"seed_{seed}", arm, seed, status, epochs)
    return path


@pytest.fixture
def only_the_schedule(monkeypatch):
    """Skips the curves of every report, a third of a second each; curves_test draws them."""
    monkeypatch.setattr(pictures, "draw_curves", lambda *arguments: None)


@pytest.fixture
def no_curves(monkeypatch):
    """Skips the curves and the schedule of every report."""
    for draw in ("draw_curves", "draw_schedule"):
        monkeypatch.setattr(pictures, draw, lambda *arguments: None)


@pytest.fixture
def make_workdir(tmp_path):
    """`make_workdir({arm: statuses}, claims=..., **settings)` -> the folder."""
    return lambda statuses, **settings: write_workdir(tmp_path / "work", statuses, **settings)


@pytest.fixture
def full_workdir(make_workdir):
    """Three arms of three seeds: all finished, one diverged, one interrupted and one not run."""
    return make_workdir(
        {
            "original": ["finished"] * 3,
            "increase_batch": ["finished", "finished", "diverged"],
            "increase_learning_rate": ["finished", "interrupted", None],
        }
    )
