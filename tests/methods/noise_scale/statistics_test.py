import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.analysis import GradientNoiseAverages
from lbkeras.errors import UserError
from lbkeras.methods.noise_scale.tensorflow_probe import GradientProbe
from lbkeras.trainers import GradientStatistics, micro_batch_train_step

WORDS = np.array([[0, 1], [1, 1], [2, 0], [3, 3], [1, 2], [0, 0]])
TARGETS = np.array([1.0, 2.0, -1.0, 0.5, 3.0, 0.0], "float32")
WEIGHTS = np.array([1.0, 0.5, 2.0, 1.0, 0.2, 3.0], "float32")


def an_embedding(dropout=0.0, **compile_arguments):
    """A model that sums the numbers of its words; the number of word i is (i + 1) / 10."""
    layers = [keras.Input((2,), dtype="int32"), keras.layers.Embedding(4, 1, name="words")]
    layers += [keras.layers.Dropout(dropout, seed=1)] if dropout else []
    layers += [keras.layers.Lambda(lambda x: keras.ops.sum(x, 1))]
    model = keras.Sequential(layers)
    model.layers[0].set_weights([np.arange(1, 5)[:, None] / 10])
    model.compile(keras.optimizers.SGD(0.1), "mse", **compile_arguments)
    return model


def example_gradients(weighted):
    """Returns 2 w (sum of the words' numbers − y) times each word's count, shape (6, 4)."""
    counts = np.stack([np.bincount(words, minlength=4) for words in WORDS])
    errors = counts @ np.arange(1, 5) / 10 - TARGETS
    return 2 * ((WEIGHTS if weighted else 1) * errors)[:, None] * counts


def scatter(gradients, sizes):
    ends = np.cumsum(sizes)
    means = np.stack([gradients[e - n : e].mean(0) for n, e in zip(sizes, ends, strict=True)])
    whole = gradients.mean(0)
    trace = (np.array(sizes) * ((means - whole) ** 2).sum(1)).sum() / (len(sizes) - 1)
    return trace, whole @ whole - trace / len(gradients)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("size", "sizes"), [(1, [1] * 6), (2, [2] * 3), (4, [4, 2])])
def test_words_that_occur_several_times_in_a_piece(weighted, size, sizes):
    """A sparse gradient has a row per occurrence; norms are of the sums of these rows."""
    model = an_embedding()
    statistics = GradientStatistics(model)
    statistics.attach()
    batch = (WORDS, TARGETS, WEIGHTS) if weighted else (WORDS, TARGETS)
    tf.function(micro_batch_train_step(model, size))(batch)
    averages = GradientNoiseAverages(statistics.read())
    trace, squared_norm = scatter(example_gradients(weighted), sizes)
    assert averages.updates == 1
    assert averages.variance == pytest.approx(trace, rel=1e-5)
    assert averages.squared_norm == pytest.approx(squared_norm, rel=1e-5)


def test_a_probe_changes_nothing():
    model = an_embedding(dropout=0.5)
    model.evaluate(WORDS, TARGETS, verbose=0)
    statistics = GradientStatistics(model)
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    before = [keras.ops.convert_to_numpy(v).copy() for v in variables]
    probe = GradientProbe(model, statistics)
    parts = [(WORDS[i : i + 3], TARGETS[i : i + 3]) for i in (0, 3)]
    first, second = (probe(tf.nest.map_structure(tf.constant, parts)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


def test_a_probes_pieces():
    model = an_embedding()
    statistics = GradientStatistics(model)
    model.optimizer.build(model.trainable_variables)
    parts = [(WORDS[:4], TARGETS[:4]), (WORDS[4:], TARGETS[4:])]
    sizes, norms, whole = GradientProbe(model, statistics)(
        tf.nest.map_structure(tf.constant, parts)
    )
    gradients = example_gradients(False)
    expected = [(gradients[:4].mean(0) ** 2).sum(), (gradients[4:].mean(0) ** 2).sum()]
    assert sizes.tolist() == [[4, 2]]
    np.testing.assert_allclose(norms, [expected], rtol=1e-5)
    np.testing.assert_allclose(whole, [(gradients.mean(0) ** 2).sum()], rtol=1e-5)


def test_dropout_draws_a_new_mask_for_each_piece():
    model = an_embedding(dropout=0.5)
    statistics = GradientStatistics(model)
    model.optimizer.build(model.trainable_variables)
    parts = [(WORDS, TARGETS)] * 8
    _, norms, _ = GradientProbe(model, statistics)(tf.nest.map_structure(tf.constant, parts))
    assert len(set(norms[0].tolist())) > 4


def test_an_update_outside_the_train_step_is_an_error():
    model = an_embedding()
    statistics = GradientStatistics(model)
    statistics.attach()
    with pytest.raises(UserError, match="expected updates by the model's train step"):
        model.optimizer.apply([tf.zeros((4, 1))], model.trainable_variables)
    statistics.detach()
    model.optimizer.apply([tf.zeros((4, 1))], model.trainable_variables)
    assert statistics.read().max() == 0
