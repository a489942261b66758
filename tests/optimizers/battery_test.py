"""Tests that every exported optimizer must pass, parametrized by a table of settings."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras import optimizers
from tests.optimizers.battery_settings import DECENTRALIZED, QUADRATIC_RATES, SETTINGS


def make(name, **more):
    return getattr(optimizers, name)(**{**SETTINGS[name], **more})


def exported():
    members = {name: getattr(optimizers, name) for name in dir(optimizers)}
    return {
        name
        for name, member in members.items()
        if isinstance(member, type) and issubclass(member, keras.optimizers.Optimizer)
    }


every_optimizer = pytest.mark.parametrize("name", SETTINGS)


def one_quickly(later, names=SETTINGS):
    """Runs LARS in the quick tests; marks the others with `later`."""
    names = [pytest.param(each, marks=() if each == "LARS" else later) for each in names]
    return pytest.mark.parametrize("name", names)


def test_every_export_has_a_row():
    assert exported() == set(SETTINGS) == set(QUADRATIC_RATES)
    assert set(optimizers.__all__) == set(SETTINGS)


@every_optimizer
def test_the_config_round_trips(name):
    optimizer = make(name, clipnorm=1.0)
    config = optimizer.get_config()
    for key, value in SETTINGS[name].items():
        assert config[key] == (value if isinstance(value, list) else pytest.approx(value)), key
    assert type(optimizer).from_config(config).get_config() == config
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(restored) is type(optimizer) and restored.get_config() == config
    assert keras.saving.get_registered_name(type(optimizer)) == f"lbkeras>{name}"


def small_model(optimizer, normalization=True, **compile_arguments):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((64,)), keras.layers.Dense(8, activation="relu")]
    if normalization:
        layers.append(keras.layers.BatchNormalization())
    model = keras.Sequential([*layers, keras.layers.Dense(10, name="logits")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, **compile_arguments)
    return model


def fit(model, digits, examples=192):
    images, labels = digits
    images = images[:examples].reshape(-1, 64).astype(np.float32) / 16
    model.fit(images, labels[:examples], batch_size=64, shuffle=False, verbose=0)


@one_quickly(pytest.mark.release)
def test_a_saved_model_continues_as_if_uninterrupted(name, digits, tmp_path):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 20)
    optimizer = make(name, learning_rate=schedule)
    if hasattr(optimizer, "exclude_from_layer_adaptation"):
        optimizer.exclude_from_layer_adaptation(var_names=["/logits/"])
    model = small_model(optimizer)
    fit(model, digits)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert type(restored.optimizer).__name__ == name
    for one in (model, restored):
        fit(one, digits)
    assert int(restored.optimizer.iterations) == 6
    for ours, expected in zip(restored.weights, model.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-6, atol=1e-7)


@every_optimizer
def test_it_converges_on_an_ill_conditioned_quadratic(name):
    """The loss `1/2 sum c (w - t)^2` with curvatures c from 0.1 to 10 falls to a thousandth."""
    steps = 300
    generator = np.random.default_rng(0)
    target = tf.constant(generator.standard_normal((4, 3)), tf.float32)
    curvature = tf.constant(np.geomspace(0.1, 10, 12).reshape(4, 3), tf.float32)
    variable = keras.Variable(generator.standard_normal((4, 3)).astype(np.float32), name="kernel")
    rate = keras.optimizers.schedules.CosineDecay(QUADRATIC_RATES[name], steps)
    more = {"trust_coefficient": 0.1, "nesterov": False} if name == "LARS" else {}
    decay = {} if name == "RMSpropWarmup" else {"weight_decay": 0.0}
    optimizer = make(name, learning_rate=rate, **more, **decay)
    optimizer.build([variable])

    def loss():
        return 0.5 * tf.reduce_sum(curvature * (variable.value - target) ** 2)

    @tf.function
    def train():
        for _ in tf.range(steps):
            optimizer.apply([curvature * (variable.value - target)], [variable])

    before = float(loss())
    train()
    assert float(loss()) < 1e-3 * before


@every_optimizer
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtypes_are_kept(name, dtype, problem, run_optimizer, relative_difference):
    names, weights, gradients, rates = problem
    optimizer = make(name)
    variables = [keras.Variable(weight, dtype=dtype) for weight in weights]
    optimizer.build(variables)
    for step, rate in enumerate(rates[:3]):
        optimizer.learning_rate = rate
        optimizer.apply([tf.cast(g, dtype) for g in gradients[step]], variables)
    assert {keras.backend.standardize_dtype(v.dtype) for v in variables} == {dtype}
    slots = [v for v in optimizer.variables if len(v.shape) > 0]
    assert {keras.backend.standardize_dtype(v.dtype) for v in slots} <= {dtype, "float32"}
    expected = run_optimizer(make(name), names, weights, gradients[:3], rates[:3])
    ours = [tf.cast(variable.value, "float32").numpy() for variable in variables]
    # bfloat16 has 8 bits: each rounding is 0.4 %, for weights that start at 0 of all their change
    assert relative_difference(ours, expected) < (1e-6 if dtype == "float32" else 0.05)


@every_optimizer
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_zero_gradients_do_not_change_half_precision_weights(name, dtype):
    """float16 cannot represent an epsilon of 1e-8."""
    start = np.array([[1, -2], [0.5, 3]] if name not in DECENTRALIZED else [[1, 2]] * 4, dtype="f")
    optimizer, variable = make(name), keras.Variable(start, dtype=dtype)
    if "weight_decay" in optimizer.get_config():
        optimizer.weight_decay = 0.0
    optimizer.build([variable])
    for _ in range(2):
        optimizer.apply([tf.zeros(start.shape, dtype)], [variable])
    np.testing.assert_array_equal(tf.cast(variable.value, "float32"), start)


@every_optimizer
def test_float64_variables_are_computed_in_float64(name, problem):
    """Slopes on both sides of the initial weights agree; float32 rounding would break this."""
    names, weights, gradients, _ = problem

    def after(change):
        optimizer = make(name)
        variables = [
            keras.Variable(w.astype("float64") * (1 + change), dtype="float64") for w in weights
        ]
        optimizer.build(variables)
        for step in gradients[:3]:
            optimizer.apply([tf.cast(g, "float64") for g in step], variables)
        return np.concatenate([v.numpy().ravel() for v in variables])

    above, below = after(1e-7) - after(0.0), after(0.0) - after(-1e-7)
    assert np.linalg.norm(above - below) < 1e-5 * np.linalg.norm(above)


@every_optimizer
@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("gradient", [0.0, 1e-30, 1e15])
@pytest.mark.parametrize("learning_rate", [0.0, 0.1])
def test_it_stays_finite(name, weight, gradient, learning_rate):
    shapes = [(3, 2), (3, 3, 2, 2), (2,)]
    variables = [keras.Variable(np.full(shape, weight, np.float32)) for shape in shapes]
    optimizer = make(name)
    optimizer.build(variables)
    for rate in (learning_rate, 0.1, 0.1):
        optimizer.learning_rate = rate
        optimizer.apply([tf.fill(shape, gradient) for shape in shapes], variables)
    for variable in [*variables, *optimizer.variables]:
        assert np.all(np.isfinite(variable.numpy())), variable.path


@one_quickly(pytest.mark.release)
def test_jit_compile_changes_nothing_and_causes_no_retracing(
    name, problem, make_variables, relative_difference
):
    names, weights, gradients, rates = problem
    traces = []

    def after_five_steps(jit):
        optimizer, variables = make(name), make_variables(names, weights)
        optimizer.build(variables)

        @tf.function(jit_compile=jit)
        def step(gradients):
            traces.append(jit)
            optimizer.apply(gradients, variables)

        for index in range(5):
            optimizer.learning_rate = rates[index]
            step([tf.constant(g) for g in gradients[index]])
        return [variable.numpy() for variable in variables]

    assert relative_difference(after_five_steps(True), after_five_steps(False)) < 1e-6
    assert traces == [True, False]


@one_quickly(pytest.mark.release, [name for name in SETTINGS if name not in DECENTRALIZED])
def test_two_replicas_equal_one_device(name, mirrored, digits):
    """Without batch norm, whose statistics are per replica."""
    one = small_model(make(name), normalization=False)
    with mirrored.scope():
        two = small_model(make(name), normalization=False)
    for model in (one, two):
        fit(model, digits)
    assert two.optimizer.iterations.numpy() == 3
    if hasattr(one.optimizer, "trust_ratios"):
        ratios = [list(model.optimizer.trust_ratios().values()) for model in (one, two)]
        assert len(ratios[0]) == 2 and ratios[1] == pytest.approx(ratios[0], rel=1e-5)
    for ours, expected in zip(two.weights, one.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


@every_optimizer
def test_embedding_gradients_equal_dense_ones(name):
    """`tf.IndexedSlices` with a row that occurs twice."""
    weight = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    rows, values = np.array([1, 3, 1]), np.ones((3, 3), np.float32)
    dense = np.zeros((5, 3), np.float32)
    np.add.at(dense, rows, values)
    results = []
    for gradient in (tf.IndexedSlices(values, rows, dense_shape=(5, 3)), tf.constant(dense)):
        variable = keras.Variable(weight, name="embeddings")
        optimizer = make(name)
        optimizer.build([variable])
        for _ in range(2):
            optimizer.apply([gradient], [variable])
        results.append(variable.numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)


def by_norm(gradients, limit):
    return [g * min(1, limit / np.linalg.norm(g)) for g in gradients]


def by_global_norm(gradients, limit):
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in gradients))
    return [g * min(1, limit / norm) for g in gradients]


# option -> function that clips a step's gradients
CLIPPING = {
    "clipvalue": lambda gradients: [np.clip(g, -0.2, 0.2) for g in gradients],
    "clipnorm": lambda gradients: by_norm(gradients, 0.2),
    "global_clipnorm": lambda gradients: by_global_norm(gradients, 0.2),
}


@every_optimizer
@pytest.mark.parametrize("option", CLIPPING)
def test_clipping(name, option, problem, run_optimizer, relative_difference):
    names, weights, gradients, rates = problem
    gradients, rates = gradients[:4], rates[:4]
    ours = run_optimizer(make(name, **{option: 0.2}), names, weights, gradients, rates)
    clipped = [[g.astype(np.float32) for g in CLIPPING[option](step)] for step in gradients]
    expected = run_optimizer(make(name), names, weights, clipped, rates)
    assert relative_difference(ours, expected) < 1e-5
    plain = run_optimizer(make(name), names, weights, gradients, rates)
    assert relative_difference(plain, ours) > 1e-4


@every_optimizer
def test_a_loss_scale_is_divided_out(name, problem, run_optimizer, relative_difference):
    names, weights, gradients, rates = problem
    scaled = [[1024 * g for g in step] for step in gradients[:4]]
    ours = run_optimizer(make(name, loss_scale_factor=1024.0), names, weights, scaled, rates[:4])
    expected = run_optimizer(make(name), names, weights, gradients[:4], rates[:4])
    assert relative_difference(ours, expected) < 1e-6


@every_optimizer
def test_accumulated_gradients_make_one_update(name, problem, run_optimizer, relative_difference):
    names, weights, gradients, _ = problem
    rates = [0.1] * 4
    optimizer = make(name, gradient_accumulation_steps=2)
    ours = run_optimizer(optimizer, names, weights, gradients[:4], rates)
    pairs = [(gradients[0], gradients[1]), (gradients[2], gradients[3])]
    means = [[(a + b) / 2 for a, b in zip(*pair, strict=True)] for pair in pairs]
    expected = run_optimizer(make(name), names, weights, means, rates[:2])
    assert relative_difference(ours, expected) < 1e-6


@every_optimizer
def test_a_moving_average_of_the_weights(
    name, problem, run_optimizer, make_variables, relative_difference
):
    names, weights, gradients, rates = problem
    averages = None
    for steps in range(1, 5):
        after = run_optimizer(make(name), names, weights, gradients[:steps], rates[:steps])
        averages = [
            w if averages is None else 0.8 * averages[i] + 0.2 * w for i, w in enumerate(after)
        ]
    optimizer = make(name, use_ema=True, ema_momentum=0.8)
    variables = make_variables(names, weights)
    ours = run_optimizer(optimizer, names, weights, gradients[:4], rates[:4], variables)
    assert relative_difference(ours, after) < 1e-6
    optimizer.finalize_variable_values(variables)
    assert relative_difference([v.numpy() for v in variables], averages) < 1e-6


@one_quickly(pytest.mark.slow)
def test_a_loss_scale_optimizer_can_wrap_it(
    name, problem, run_optimizer, make_variables, relative_difference
):
    names, weights, gradients, rates = problem
    inner, variables = make(name), make_variables(names, weights)
    wrapper = keras.optimizers.LossScaleOptimizer(inner, initial_scale=1024.0)
    wrapper.build(variables)

    @tf.function
    def step(gradients):
        wrapper.apply(gradients, variables)

    step([tf.constant(np.full_like(g, np.nan)) for g in gradients[0]])  # skipped, scale halved
    for index in range(4):
        inner.learning_rate = rates[index]
        step([tf.constant(512 * g) for g in gradients[index]])
    expected = run_optimizer(make(name), names, weights, gradients[:4], rates[:4])
    assert relative_difference([v.numpy() for v in variables], expected) < 1e-6


@one_quickly(pytest.mark.release)
def test_it_trains_in_mixed_float16(name, digits):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small_model(make(name, learning_rate=0.01))
        fit(model, digits)
    finally:
        keras.config.set_dtype_policy(before)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert type(model.optimizer.inner_optimizer).__name__ == name
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in model.weights} == {
        "float32"
    }
    assert all(np.all(np.isfinite(weight.numpy())) for weight in model.weights)


ON_JAX = """
import sys
from tests.optimizers import battery_on_jax
battery_on_jax.main(sys.argv[1])
"""


@pytest.fixture(scope="module")
def weights_on_jax(tmp_path_factory):
    """Each optimizer's weights after the problem's steps, computed in one process on JAX."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    path = tmp_path_factory.mktemp("jax") / "weights.npz"
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    subprocess.run(
        [sys.executable, "-c", ON_JAX, str(path)],
        env=environment,
        check=True,
        timeout=300,
    )
    with np.load(path) as file:
        return dict(file)


@every_optimizer
@pytest.mark.parametrize("way", ["eager", "stateless"])
@pytest.mark.release
def test_jax_equals_tensorflow(
    name, way, problem, run_optimizer, weights_on_jax, relative_difference
):
    expected = run_optimizer(make(name), *problem)
    ours = [weights_on_jax[f"{name}/{way}/{index}"] for index in range(len(expected))]
    assert relative_difference(ours, expected) < 1e-5
