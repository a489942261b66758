"""Label smoothing of integer labels equals Keras' for one-hot labels and the formula in NumPy."""

import keras
import numpy as np
import pytest

from lbkeras.cli.config_files import load_config
from lbkeras.errors import UserError
from lbkeras.losses import LabelSmoothingCrossentropy
from lbkeras.methods.micro_batches.losses import PieceLosses
from lbkeras.runs.loss_and_metrics import loss_and_metrics

RANDOM = np.random.default_rng(0)
LABELS = np.array([3, 0, 4, 1, 1, 2])
LOGITS = 3 * RANDOM.normal(size=(6, 5)).astype("float32")
WEIGHTS = np.array([1.0, 2.0, 0.0, 0.5, 1.0, 3.0], "float32")
ONE_HOT = np.eye(5, dtype="float32")[LABELS]


def _numpy(smoothing, logits=LOGITS):
    """Returns (1 - s) CE_y + s / K sum_k CE_k of each example, in float64."""
    logits = logits.astype("float64")
    each = np.log(np.exp(logits).sum(1, keepdims=True)) - logits
    return (1 - smoothing) * each[np.arange(6), LABELS] + smoothing * each.mean(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "none"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_it_equals_keras_loss_of_one_hot_labels(smoothing, reduction, weights):
    ours = LabelSmoothingCrossentropy(smoothing, from_logits=True, reduction=reduction)
    keras_own = keras.losses.CategoricalCrossentropy(True, smoothing, reduction=reduction)
    expected = np.array(keras_own(ONE_HOT, LOGITS, weights))
    np.testing.assert_allclose(ours(LABELS, LOGITS, weights), expected, rtol=2e-6)
    np.testing.assert_allclose(ours(LABELS[:, None], LOGITS, weights), expected, rtol=2e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_formula(smoothing):
    loss = LabelSmoothingCrossentropy(smoothing, from_logits=True, reduction="none")
    np.testing.assert_allclose(loss(LABELS, LOGITS), _numpy(smoothing), rtol=2e-6)
    of_shares = LabelSmoothingCrossentropy(smoothing, reduction="none")
    shares = keras.ops.softmax(LOGITS)
    np.testing.assert_allclose(of_shares(LABELS, shares), _numpy(smoothing), rtol=2e-5)


def test_logits_of_16_bits_and_1000_classes_are_summed_in_float32():
    logits = keras.ops.cast(4 * RANDOM.normal(size=(6, 1000)), "float16")
    loss = LabelSmoothingCrossentropy(0.1, from_logits=True, reduction="none")(LABELS, logits)
    assert loss.dtype == "float32"
    np.testing.assert_allclose(loss, _numpy(0.1, np.array(logits)), rtol=2e-6)


def test_its_gradient_equals_that_of_keras_loss():
    import tensorflow as tf

    gradients = []
    for kind, labels in ((LabelSmoothingCrossentropy, LABELS),
                         (keras.losses.CategoricalCrossentropy, ONE_HOT)):  # fmt: skip
        logits = tf.Variable(LOGITS)
        with tf.GradientTape() as tape:
            value = kind(label_smoothing=0.1, from_logits=True)(labels, logits, WEIGHTS)
        gradients.append(tape.gradient(value, logits))
    np.testing.assert_allclose(*gradients, atol=1e-7)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
def test_pieces_of_a_batch_add_up(reduction):
    model = keras.Sequential([keras.Input((5,))])
    loss = LabelSmoothingCrossentropy(0.1, from_logits=True, reduction=reduction)
    model.compile(loss=loss)
    model.evaluate(LOGITS, LABELS, verbose=0)
    parts = []
    for rows in (slice(0, 4), slice(4, 6)):
        piece = PieceLosses(model, rows.stop - rows.start, 6, divisors=[WEIGHTS.sum()])
        parts.append(float(piece(LABELS[rows], LOGITS[rows], WEIGHTS[rows])))
    assert sum(parts) == pytest.approx(float(loss(LABELS, LOGITS, WEIGHTS)), rel=1e-6)


def test_it_survives_saving():
    loss = LabelSmoothingCrossentropy(0.2, from_logits=True, reduction="sum", name="own")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is LabelSmoothingCrossentropy
    assert again.get_config() == loss.get_config() and again.label_smoothing == 0.2


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, "x", None])
def test_a_smoothing_outside_0_to_1_is_refused(smoothing):
    with pytest.raises(UserError, match="^label_smoothing: expected a number from 0 to 1, receiv"):
        LabelSmoothingCrossentropy(smoothing)


def test_a_config_with_it_measures_the_accuracy(request):
    path = request.config.rootpath / "configs/papers/goyal2017.py"
    for name in ("LabelSmoothingCrossentropy", "label_smoothing_crossentropy"):
        section = dict(name=name, label_smoothing=0.1, from_logits=True)
        made = loss_and_metrics({"loss": section})
        assert type(made["loss"]) is LabelSmoothingCrossentropy and made["metrics"] == ["accuracy"]
        assert made["loss"].label_smoothing == 0.1 and made["loss"].from_logits
    with pytest.raises(UserError, match="^loss: expected one of label_smoothing, "):
        loss_and_metrics({"loss": dict(name="LabelSmoothingCrossentropy", smoothing=0.1)})
    assert load_config(f"{path}:digits").loss.name == "SparseCategoricalCrossentropy"
