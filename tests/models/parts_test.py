import keras
import numpy as np
import pytest

from lbkeras.data.digits import load_digits
from lbkeras.models import (
    cifar_resnet,
    keskar_c1,
    keskar_f1,
    mlp,
    parts,
    pyramidnet,
    row_lstm,
    small_cnn,
    wide_resnet,
)

BATTERY = {
    "mlp": lambda **options: mlp((8, 8, 1), 10, (16,), **options),
    "small_cnn": lambda **options: small_cnn((8, 8, 1), 10, width=4, **options),
    "cifar_resnet A": lambda **options: cifar_resnet(8, 4, (8, 8, 1), **options),
    "cifar_resnet B": lambda **options: cifar_resnet(8, 4, (8, 8, 1), shortcut="B", **options),
    "cifar_resnet for large batches": lambda **options: cifar_resnet(
        8, 4, (8, 8, 1), zero_gamma=True, fixed_classifier=True, **options
    ),
    "wide_resnet": lambda **options: wide_resnet(10, 1, (8, 8, 1), **options),
    "pyramidnet": lambda **options: pyramidnet(8, 12, (8, 8, 1), **options),
    "row_lstm": lambda **options: row_lstm((8, 8, 1), units=32, projection=16, **options),
    "keskar_f1": lambda **options: keskar_f1((8, 8, 1), **options),
    "keskar_c1": lambda **options: keskar_c1((8, 8, 1), **options),
}
# One of each kind among the models that learn within two epochs at the same learning rate.
LEARNS = ["mlp", "small_cnn"]
LEARNS += [  # in the gate they predict, and the configs' tests make their dry runs
    pytest.param(name, marks=pytest.mark.release)
    for name in ("cifar_resnet A", "cifar_resnet B", "wide_resnet", "pyramidnet")
]
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(params=BATTERY)
def build(request):
    keras.utils.set_random_seed(0)
    return BATTERY[request.param]


def normalized(model, images):
    layer = model.get_layer("normalization")
    return keras.ops.convert_to_numpy(layer(images))


def test_maps_uint8_to_float32_logits(build):
    model = build()
    assert model.inputs[0].dtype == "uint8"
    logits = model.predict_on_batch(load_digits("test")[0][:5])
    assert logits.shape == (5, 10) and logits.dtype == np.float32
    assert logits.min() < 0  # no softmax


def test_not_compiled(build):
    assert not build().compiled


@pytest.mark.parametrize("build", LEARNS, indirect=True)
def test_learns_digits(build):
    model, (images, labels) = build(), load_digits("train")
    model.compile(keras.optimizers.SGD(0.02, momentum=0.9), LOSS, jit_compile=False)
    initial = model.evaluate(images, labels, batch_size=256, verbose=0)
    model.fit(images, labels, batch_size=32, epochs=2, verbose=0)
    assert model.evaluate(images, labels, batch_size=256, verbose=0) < initial / 3


def test_weight_decay_is_half_the_squared_norm_of_kernels_only(build):
    assert build().losses == []
    model = build(weight_decay=0.02)
    kernels = [v for v in model.trainable_variables if v.path.endswith(("kernel", "scale"))]
    assert len(kernels) >= 2 and len(model.losses) == len(kernels)
    expected = 0.02 / 2 * sum(np.square(k.numpy().astype(np.float64)).sum() for k in kernels)
    # float32 sums
    np.testing.assert_allclose(sum(float(loss) for loss in model.losses), expected, rtol=1e-5)


def test_save_and_load(build, tmp_path):
    model, images = build(), load_digits("test")[0][:5]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(images), model.predict_on_batch(images))


def test_mixed_precision_keeps_float32_logits(build):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.outputs[0].dtype == "float32"
    assert all(v.dtype == "float32" for v in model.trainable_variables)
    assert np.isfinite(model.predict_on_batch(load_digits("test")[0][:5])).all()


def test_normalization_of_digits_has_mean_0_and_deviation_1():
    images, _ = load_digits("train")
    values = normalized(mlp((8, 8, 1), 10), images)
    # The constants have two digits.
    assert abs(values.mean()) < 0.01 and abs(values.std() - 1) < 0.01


def test_given_normalization():
    model = mlp((2, 2, 3), 10, mean=(1.0, 2.0, 3.0), standard_deviation=(1.0, 2.0, 4.0))
    images = np.full((1, 2, 2, 3), 7, np.uint8)
    np.testing.assert_allclose(normalized(model, images)[0, 0, 0], [6.0, 2.5, 1.0], rtol=1e-6)
    model = mlp((2, 2, 3), 10, mean=2, standard_deviation=10)
    np.testing.assert_allclose(normalized(model, images)[0, 0, 0], [0.5] * 3, rtol=1e-6)


def test_a_number_and_one_per_channel():
    model = mlp((2, 2, 3), 10, mean=(1.0, 2.0, 3.0), standard_deviation=2)
    images = np.full((1, 2, 2, 3), 7, np.uint8)
    np.testing.assert_allclose(normalized(model, images)[0, 0, 0], [3.0, 2.5, 2.0], rtol=1e-6)


def test_normalization_with_too_few_channels():
    with pytest.raises(
        ValueError, match=r"mean: expected a number or one for each channel .*3\), received 2"
    ):
        mlp((2, 2, 3), 10, mean=(1.0, 2.0))


def test_he_fan_out():
    kernel = keras.ops.convert_to_numpy(parts.he_fan_out()((3, 3, 64, 128)))
    # With 73,728 normal values the estimate's own standard deviation is 0.3 %.
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 128)), rtol=0.015)


def test_input_shape_without_channels():
    with pytest.raises(
        ValueError, match=r"expected \(height, width, channels\), received \(28, 28\)"
    ):
        mlp((28, 28), 10)
