import inspect

import pytest

from lbkeras import callbacks, metrics
from lbkeras.cli.config_files import load_config
from lbkeras.runs import experiment


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("val_accuracy", "higher"),
        ("val_loss", "lower"),
        ("updates", "lower"),
        ("seconds", "lower"),
        ("trainable_parameters", "lower"),
        ("consensus_distance", "lower"),
        ("sharpness", "lower"),
        ("sharpness_subspace_100_5e-4", "lower"),
        ("sharpness_2.5e-3", "lower"),
        # Names that only start or end like those.
        ("sharpness_of_edges", None),
        ("val_updates", None),
        ("accuracy_gap", None),
        ("gradient_noise_scale", None),
    ],
)
def test_only_what_lbkeras_measures_has_a_known_direction(metric, better):
    assert metrics.of(metric).better == better


@pytest.mark.parametrize(
    ("metric", "axis", "factor"),
    [
        ("updates", "parameter updates", 1),
        ("batch_size", "batch size (examples)", 1),
        ("val_accuracy", "test accuracy (%)", 100),
        ("top_5_accuracy", "top 5 accuracy (%)", 100),
        ("accuracy_gap", "accuracy gap", 1),
    ],
)
def test_how_a_quantity_is_shown(metric, axis, factor):
    assert (metrics.of(metric).axis, metrics.of(metric).factor) == (axis, factor)


def test_what_an_arm_measures():
    settings = {"optimizer": {"name": "SGD"}}
    plain = metrics.measured(settings)
    assert {"val_accuracy", "loss", "updates", "seconds"} <= set(plain)
    nodes = {"optimizer": {"name": "DmSGD", "num_nodes": 4}}
    assert metrics.measured(nodes) == [*plain, "consensus_distance"]
    sharpness = {"Sharpness": {"epsilons": (1e-3, 2e-4), "subspace_dimensions": (None, 7)}}
    assert metrics.measured(settings | {"callbacks": sharpness}) == [
        *plain,
        *("sharpness", "sharpness_2e-4", "sharpness_subspace_7", "sharpness_subspace_7_2e-4"),
    ]
    assert metrics.measured(settings | {"callbacks": {"Sharpness": {"epsilons": 3}}}) == plain


def test_a_sharpness_without_arguments_is_measured_with_the_callbacks_defaults():
    parameters = inspect.signature(callbacks.Sharpness).parameters
    given = {name: parameters[name].default for name in ("epsilons", "subspace_dimensions")}
    measured = [
        metrics.measured({"optimizer": {}, "callbacks": {"Sharpness": arguments}})
        for arguments in ({}, given)
    ]
    assert measured[0] == measured[1] and "sharpness_subspace_100_5e-4" in measured[0]


@pytest.mark.parametrize("callback", sorted(metrics._LOGGED))
def test_what_callbacks_log_is_in_their_sources(callback):
    classes = inspect.getmro(getattr(callbacks, callback)) + (callbacks.GradientNoiseScale,)
    source = "".join(inspect.getsource(each) for each in classes if "lbkeras" in each.__module__)
    for name in metrics._LOGGED[callback]:
        assert f'"{name}"' in source or f"{name}=" in source


def test_what_kept_runs_measured_is_expected_of_their_settings(request):
    """Compares real records with `measured` of their settings."""
    import json

    results = request.config.rootpath / "results"
    for folder in ("mccandlish2018_digits/adaptive", "keskar2017_digits/small_batch"):
        run = next((results / folder).glob("seed_*"))
        record, config = (
            json.loads((run / f"{name}.json").read_text()) for name in ("record", "config")
        )
        assert set(record["final"]) <= set(metrics.measured(config))


def test_arms_of_a_config_measure_what_their_callbacks_do(request):
    path = request.config.rootpath / "configs/papers/keskar2017.py"
    settings = experiment.arm_settings(load_config(f"{path}:digits"))
    assert "sharpness_5e-4" in metrics.measured(settings)
