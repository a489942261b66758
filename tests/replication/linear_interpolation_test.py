"""Compares the line between two models with their evaluation and with weights set by hand."""

import json

import keras
import numpy as np
import pytest

from lbkeras.config import complete
from lbkeras.data import Pipeline
from lbkeras.errors import UserError
from lbkeras.replication import linear_interpolation


@pytest.fixture
def data(digits):
    return Pipeline(tuple(part[:100] for part in digits), batch_size=100, shuffle=False)


@pytest.fixture
def solutions(compiled):
    """Two models with batch norm and random weights and statistics."""
    models = [compiled(hidden=8, seed=seed) for seed in range(2)]
    generator = np.random.default_rng(0)
    for model in models:
        for weight in model.weights:
            values = weight.numpy() + 0.3 * generator.standard_normal(weight.shape)
            variance = weight.path.endswith("moving_variance")
            weight.assign(values**2 if variance else values)
    return models


def test_the_ends_are_the_models_which_are_not_changed(solutions, data, digits):
    weights = [model.get_weights() for model in solutions]
    test = Pipeline(tuple(part[100:150] for part in digits), batch_size=50, shuffle=False)
    line = linear_interpolation.evaluate_line(
        *solutions, data, test, positions=[-1.0, 0.0, 0.5, 1.0, 2.0]
    )
    assert line["alpha"] == [-1.0, 0.0, 0.5, 1.0, 2.0]
    assert set(line) == {"alpha", "loss", "accuracy", "val_loss", "val_accuracy"}
    for place, model in ((1, solutions[0]), (3, solutions[1])):
        for prefix, each in (("", data), ("val_", test)):
            values = model.evaluate(each, verbose=0, return_dict=True)
            for name in ("loss", "accuracy"):
                assert line[prefix + name][place] == values[name]
    for model, before in zip(solutions, weights, strict=True):
        for now, then in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, then)
    assert np.isfinite(line["loss"]).all()


@pytest.mark.parametrize("alpha", [-1.0, 0.25, 2.0])
def test_between_and_beyond_the_ends(solutions, data, compiled, alpha):
    line = linear_interpolation.evaluate_line(*solutions, data, data, positions=[alpha])
    model = compiled(hidden=8)
    first, last = ({v.path: v.numpy() for v in each.weights} for each in solutions)
    for variable, a, b in zip(model.weights, first.values(), last.values(), strict=True):
        if variable.path.endswith("moving_variance"):
            value = (b + 1e-3) ** alpha * (a + 1e-3) ** (1 - alpha) - 1e-3
            assert (value > -1e-3).all()
            variable.assign(np.maximum(value, 0))
        else:
            variable.assign(a + alpha * (b - a))
    expected = model.evaluate(data, verbose=0, return_dict=True)
    assert line["loss"][0] == pytest.approx(expected["loss"], rel=1e-4)
    assert line["accuracy"][0] == pytest.approx(expected["accuracy"])


def test_models_that_differ_are_refused(solutions, compiled, data):
    message = "^end: expected a model with the weights of start, 8 arrays of .* received 2 arrays"
    with pytest.raises(UserError, match=message):
        linear_interpolation.evaluate_line(solutions[0], compiled(), data, data)


CONFIG = dict(
    data=dict(
        name="digits", train_split="train", test_split="test", num_examples=1437,
        test_batch_size=360, augmentation="none",
    ),
    model=dict(name="mlp"), optimizer=dict(name="SGD"), plan=dict(name="steps_plan"),
    arms=dict(one=dict(description="1"), two=dict(description="2")),
)  # fmt: skip


def config(**line):
    line = dict(start="one", end="two", examples=200) | line
    return complete(CONFIG | dict(linear_interpolation=line))


@pytest.mark.slow
def test_writes_one_file_per_seed_and_keeps_existing_ones(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(linear_interpolation, "POSITIONS", (0.0, 1.0))
    monkeypatch.setattr(linear_interpolation.evaluate_line, "__defaults__", ((0.0, 1.0),))
    for arm, weight in (("one", 0.0), ("two", np.nan)):
        inputs = keras.Input((8, 8, 1), dtype="uint8")
        model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))
        model.set_weights([w * 0 + weight for w in model.get_weights()])
        folder = tmp_path / arm / "seed_3"
        folder.mkdir(parents=True)
        model.save(folder / "model.keras")
    linear_interpolation.write_lines(config(), [3, 4], tmp_path)
    assert [path.name for path in tmp_path.glob("line*")] == ["line_seed_3.json"]
    line = json.loads((tmp_path / "line_seed_3.json").read_text())
    assert line["arms"] == ["one", "two"] and line["alpha"] == [0.0, 1.0]
    assert line["loss"] == [pytest.approx(np.log(10)), None]  # non-finite values are null
    assert line["val_accuracy"][0] == pytest.approx(0.1, abs=0.05)
    assert "line from one to two, seed 3" in capsys.readouterr().out
    (tmp_path / "line_seed_3.json").write_text("{}")
    linear_interpolation.write_lines(config(), [3, 4], tmp_path)
    assert (tmp_path / "line_seed_3.json").read_text() == "{}"


def test_a_config_without_a_line(tmp_path):
    linear_interpolation.write_lines(complete(CONFIG), [0], tmp_path)
    assert not list(tmp_path.iterdir())


SECTION = "config.linear_interpolation"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (dict(start="on"), f"^{SECTION}.start"),
        (dict(end="one"), f"^{SECTION}.end: expected an arm other than one, received the same"),
        (dict(ends="one"), f"^{SECTION}: expected one of"),
    ],
)
def test_lines_that_a_config_cannot_have(line, message):
    with pytest.raises(UserError, match=message):
        linear_interpolation.check_line(config(**line))


def test_a_line_without_an_end():
    broken = config()
    del broken.linear_interpolation.end
    with pytest.raises(UserError, match=f"^{SECTION}.end: expected a value, received none"):
        linear_interpolation.check_line(broken)
