"""The user's own data, models, optimizers and callbacks in a run."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import lbkeras
from lbkeras import config as common
from lbkeras.errors import UserError
from lbkeras.planning import cosine_plan
from lbkeras.runs import build, experiment

OWN = __name__
RNG = np.random.default_rng(0)
X = {"a": RNG.normal(size=(60, 3)).astype("float32"), "b": RNG.normal(size=(60, 2))}
Y = RNG.integers(0, 4, size=60)


def part(rows):
    return {key: value[rows] for key, value in X.items()}, Y[rows]


def load(kind="arrays", data_dir=None):
    """Returns training and test data of 40 and 20 examples."""
    train, test = part(slice(0, 40)), part(slice(40, 60))
    if kind == "datasets":
        return tuple(tf.data.Dataset.from_tensor_slices(each) for each in (train, test))
    if kind == "pipelines":
        return (
            lbkeras.data.Pipeline(train, 3, seed=9),
            lbkeras.data.Pipeline(test, 3, shuffle=False),
        )
    if kind == "swapped":
        return lbkeras.data.Pipeline(train, 3, shuffle=False), test
    if kind == "lengths":
        return (X, Y[:3]), test
    return {"three": (1, 2, 3), "none": None, "dir": data_dir}.get(kind, (train, test))


def fails_to_load():
    raise FileNotFoundError("nothing there\nat all")


def twice(x, seed):
    return {key: 2 * value for key, value in x.items()}


class Net(keras.Model):
    """A subclassed model that takes a dict of inputs."""

    def __init__(self, width=4, normalized=False):
        super().__init__()
        self.normalization = keras.layers.BatchNormalization() if normalized else None
        self.hidden = keras.layers.Dense(width)

    def call(self, inputs):
        x = keras.ops.concatenate([keras.ops.cast(inputs[k], "float32") for k in "ab"], axis=-1)
        return self.hidden(self.normalization(x) if self.normalization else x)


def functional(input_shape, width=4):
    inputs = {key: keras.Input(shape, name=key) for key, shape in input_shape.items()}
    x = keras.layers.Concatenate()(list(inputs.values()))
    return keras.Model(inputs, keras.layers.Dense(width)(keras.layers.BatchNormalization()(x)))


def compiled():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("sgd", "mse")
    return model


def no_model(scale=1.0):
    return scale / 0


def adam(learning_rate, beta):
    return keras.optimizers.Adam(learning_rate, beta_1=beta)


def no_optimizer(learning_rate):
    return "sgd"


class Recorder(keras.callbacks.Callback):
    def __init__(self, plan, file, every=1):
        super().__init__()
        self.plan, self.file, self.every = plan, file, every


def one_rate(num_examples, epochs):
    return cosine_plan(
        epochs=epochs, batch_size=10, learning_rate=0.1, momentum=0.0, num_examples=num_examples
    )


def settings(**changes):
    sections = dict(
        data=dict(name=f"{OWN}:load", num_examples=40),
        model=dict(name=f"{OWN}:Net"),
        plan=dict(name=f"{OWN}:one_rate", epochs=2),
    )
    for section, values in changes.items():
        sections[section] = sections.get(section, {}) | values
    return experiment.arm_settings(common.experiment(**sections))


@pytest.mark.parametrize("kind", ["arrays", "datasets", "pipelines"])
def test_the_runs_seed_decides_the_order_of_the_data(kind):
    chosen = settings(data=dict(kind=kind, test_batch_size=8))
    train, test = build.make_pipelines(chosen, 10, seed=3, data_dir=None)
    assert (train.num_examples, train.batch_size, train.seed) == (40, 10, 3)
    assert (test.num_examples, test.batch_size, test.shuffle) == (20, 8, False)
    expected = lbkeras.data.Pipeline(part(slice(0, 40)), 10, seed=3)
    if kind != "datasets":  # shuffled through a buffer
        for (x, y), (x_expected, y_expected) in zip(
            train.dataset(), expected.dataset(), strict=True
        ):
            np.testing.assert_array_equal(y, y_expected)
            np.testing.assert_array_equal(x["a"], x_expected["a"])


def test_the_users_augmentation_applies_to_the_training_data():
    chosen = settings(data=dict(augmentation=f"{OWN}:twice"))
    train, test = build.make_pipelines(chosen, 40, seed=0, data_dir=None)
    x, _ = next(iter(train.dataset()))
    assert np.sum(x["a"]) == pytest.approx(2 * np.sum(X["a"][:40]), rel=1e-4)
    x, _ = next(iter(test.dataset()))
    assert np.sum(x["a"]) == pytest.approx(np.sum(X["a"][40:]), rel=1e-4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dict(num_examples=41), r"data.num_examples: expected 40 .what \S+:load returns.*41"),
        (dict(kind="three"), "data.name: expected a function that returns training and test "
         "data, .*returns a tuple"),
        (dict(kind="none"), "data.name: .*which returns a NoneType"),
        (dict(kind="swapped"), "data.name: the training data of .*expected a Pipeline with "
         "shuffle=True, received shuffle=False"),
        (dict(kind="lengths"), "data.name: the training data of .*: expected"),
        (dict(kidn="x"), "data: expected one of kind, data_dir, .*'kidn' .did you mean 'kind'"),
        (dict(name=f"{OWN}:fails_to_load"), r"data: expected a function that runs, .*_test.py, "
         r"line \d+: FileNotFoundError: nothing there$"),
        (dict(augmentation=f"{OWN}:nothing"), "data.augmentation: expected one of .*'nothing'"),
        (dict(kind="pipelines", augmentation=f"{OWN}:twice"), "data.augmentation: expected none"),
    ],
)  # fmt: skip
def test_unusable_data(data, message):
    with pytest.raises(UserError, match=message):
        build.make_pipelines(settings(data=data), 10, seed=0, data_dir=None)


def test_own_data_needs_its_number_of_examples():
    with pytest.raises(UserError, match="^data.num_examples: expected how many training examples"):
        chosen = settings()
        del chosen["data"]["num_examples"]
        experiment.make_plan(chosen)


@pytest.fixture(scope="module")
def train():
    return build.make_pipelines(settings(), 10, seed=0, data_dir=None)[0]


def test_a_subclassed_model_is_built_and_compiled(train):
    chosen = settings(model=dict(width=6), optimizer=dict(name=f"{OWN}:adam", beta=0.8))
    plan = experiment.make_plan(chosen)
    model = build.compiled_model(chosen, plan, tf.distribute.get_strategy(), train)
    assert isinstance(model, Net) and model.count_params() == 5 * 6 + 6
    assert model.optimizer.beta_1 == 0.8 and model.steps_per_execution == 4
    history = model.fit(train, epochs=1, verbose=0).history
    assert {"loss", "accuracy"} <= set(history)


def test_a_function_gets_the_shapes_of_its_inputs_if_it_takes_them(train):
    chosen = settings(model=dict(name=f"{OWN}:functional", ghost_batch_size=5))
    model = build.make_model(chosen, train)
    assert {key: tensor.shape for key, tensor in model.input.items()} == {
        "a": (None, 3), "b": (None, 2)
    }  # fmt: skip
    assert [layer.ghost_batch_size for layer in model.layers if hasattr(layer, "ghost_batch_size")]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (dict(width=3), "model.num_classes: expected at least 4 .*received 3"),
        (dict(name=f"{OWN}:functional", width=3), "model.num_classes: expected at least 4"),
        (dict(widht=3), "model: expected one of width, .*'widht' .did you mean 'width'"),
        (dict(name=f"{OWN}:compiled"), "model.name: .* which is not compiled, .*compiles it"),
        (dict(name=f"{OWN}:twice"), "model.x: expected a value, received none"),
        (dict(name=f"{OWN}:load"), "model.name: .*returns a keras.Model, .* returns a tuple"),
        (dict(name=f"{OWN}:no_model"), r"model: expected a function that runs, .*, line \d+: Zero"),
        (dict(normalized=True, ghost_batch_size=5), "model: expected a functional or sequential"),
    ],
)  # fmt: skip
def test_an_unusable_model(model, message, train):
    with pytest.raises(UserError, match=message):
        build.make_model(settings(model=model), train)


def test_large_labels_are_fine_for_another_loss(train):
    chosen = settings(model=dict(width=1), loss=dict(name="MeanSquaredError"))
    assert build.make_model(chosen, train).count_params() == 6


def test_a_users_optimizer(train):
    plan = experiment.make_plan(settings())
    for name, message in (
        ("no_optimizer", "optimizer.name: expected a Keras optimizer .*returns a str"),
        ("twice", "optimizer: expected one of x, seed, received 'learning_rate'"),
    ):
        with pytest.raises(UserError, match=message):
            build.make_optimizer(settings(optimizer=dict(name=f"{OWN}:{name}")), plan)
    sgd = settings(plan=dict(name="cosine_plan", batch_size=10, learning_rate=0.1, momentum=0.9))
    with pytest.raises(UserError, match=r"plan.momentum: expected 0, as \S+:adam has no momentum"):
        optimizer = dict(name=f"{OWN}:adam", beta=0.9)
        build.make_optimizer(sgd | {"optimizer": optimizer}, experiment.make_plan(sgd))


def test_callbacks_of_the_user_and_of_keras(tmp_path):
    chosen = settings(
        callbacks=dict(mine=dict(name=f"{OWN}:Recorder", every=2), EarlyStopping=dict(patience=3))
    )
    plan = experiment.make_plan(chosen)
    mine, stopping = build.make_callbacks(chosen, tmp_path, plan=plan, seed=1)
    assert (mine.plan, mine.file, mine.every) == (plan, tmp_path / "recorder.json", 2)
    assert isinstance(stopping, keras.callbacks.EarlyStopping) and stopping.patience == 3
    chosen["callbacks"]["mine"]["evry"] = 1
    with pytest.raises(UserError, match="callbacks.mine: expected one of .*'evry' .did you mean"):
        build.make_callbacks(chosen, tmp_path, plan=plan)
    with pytest.raises(UserError, match="callbacks.mine: expected a Keras callback, .*a tuple"):
        build.make_callbacks({"callbacks": {"mine": {"name": f"{OWN}:load"}}}, tmp_path)


def test_the_metric_of_the_report_and_its_direction():
    def of(**changes):
        sections = dict(loss=dict(name="MeanSquaredError")) | changes
        sections = dict(
            data=dict(name="digits", num_examples=1437), model=dict(name="mlp"),
            plan=dict(name="cosine_plan"),
        ) | sections  # fmt: skip
        return experiment.report_metric(common.experiment(**sections))

    assert of(loss=None) == ("val_accuracy", "higher")
    assert of() == ("val_loss", "lower")
    assert of(metrics=["AUC", "mae"]) == ("val_auc", "higher")
    assert of(metrics=["mae", "AUC"]) == ("val_mae", "lower")
    assert of(metrics=["AUC", "accuracy"]) == ("val_accuracy", "higher")
    assert of(metrics=dict(mine=dict(name="a:b"))) == ("val_mine", None)
    assert of(metrics=dict(mine=dict(name="a:b", better="lower"))) == ("val_mine", "lower")
    assert of(metrics=["AUC"], metric="val_loss") == ("val_loss", "lower")
    assert of(metric="updates") == ("updates", "lower")
    with pytest.raises(UserError, match="config.metric of arm own: expected one of auc, val_auc"):
        of(metrics=["AUC"], metric="val_acu")


def test_a_run_has_only_the_values_that_its_model_measures(tmp_path):
    from lbkeras.runs import training
    from lbkeras.runs.config_task import ConfigTask
    from lbkeras.runs.run_spec import RunSpec
    from lbkeras.runs.several import outcome

    chosen = settings(model=dict(width=1), loss=dict(name="MeanSquaredError"), metrics=dict(mae={}))
    run = RunSpec(ConfigTask(chosen), "own", 0, tmp_path / "run", "", "", metric="val_mae")
    record = training.train(run)
    assert set(record["final"]) == {"loss", "val_loss", "mae", "val_mae"}
    shown = f"{record['final']['val_mae']:.4g}"
    assert outcome(run).startswith(f"test mae {shown} after 8 updates, ")
    rows = [json.loads(line) for line in (run.folder / "history.jsonl").read_text().splitlines()]
    assert "accuracy" not in rows[0] and "val_mae" in rows[0]
