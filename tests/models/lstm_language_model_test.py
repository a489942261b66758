import keras
import numpy as np
import pytest

from lbkeras.models import lstm_language_model

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def by_hand(vocabulary_size, embedding, units, layers):
    """Embedding, four gates per LSTM from its input and its state, logits."""
    total = vocabulary_size * embedding
    for i in range(layers):
        total += 4 * ((units if i else embedding) + units + 1) * units
    return total + (units + 1) * vocabulary_size


@pytest.mark.parametrize("sizes", [(11, 3, 4, 1), (11, 3, 4, 3), (10_000, 200, 200, 2)])
def test_parameters(sizes):
    assert lstm_language_model(*sizes).count_params() == by_hand(*sizes)


def test_parameters_of_penn_treebank():
    """Zaremba et al., arXiv:1409.2329: later tables list 20 M for medium and 66 M for large."""
    assert by_hand(10_000, 200, 200, 2) == 4_651_600
    assert round(by_hand(10_000, 650, 650, 2) / 1e6) == 20
    assert round(by_hand(10_000, 1500, 1500, 2) / 1e6) == 66


def test_maps_tokens_to_float32_logits_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = lstm_language_model(11, 3, 4, dropout=0.5, input_shape=(7,))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.inputs[0].dtype == "int32" and model.inputs[0].shape == (None, 7)
    logits = model.predict_on_batch(np.arange(14, dtype=np.int32).reshape(2, 7) % 11)
    assert logits.shape == (2, 7, 11) and logits.dtype == np.float32


def test_sees_the_past_only():
    model = lstm_language_model(11, 3, 4)
    tokens = np.arange(12, dtype=np.int32).reshape(2, 6) % 11
    changed = tokens.copy()
    changed[:, 3] = 0
    before, after = model.predict_on_batch(tokens), model.predict_on_batch(changed)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any()


def test_starts_as_the_paper_says():
    model = lstm_language_model(50, 20, 30, initial_range=0.04)
    for variable in model.trainable_variables:
        value = np.abs(variable.numpy())
        if "bias" in variable.path:
            assert not value.any()
        else:
            # The largest of at least 1,000 uniform values.
            assert 0.95 * 0.04 < value.max() <= 0.04


def test_places_of_dropout():
    kinds = [type(layer).__name__ for layer in lstm_language_model(9, 2, 2, dropout=0.3).layers]
    assert kinds == [
        "InputLayer", "Embedding", "Dropout", "LSTM", "Dropout", "LSTM", "Dropout", "Dense"
    ]  # fmt: skip


def test_weight_decay_excludes_the_embedding():
    model = lstm_language_model(9, 2, 3, weight_decay=0.1)
    assert len(model.losses) == 2 * 2 + 1


@pytest.mark.release  # in the gate it learns a text in tests/data/text_test.py
def test_learns_to_count():
    keras.utils.set_random_seed(0)
    model = lstm_language_model(8, 8, 16, layers=1)
    model.compile(keras.optimizers.Adam(0.03), LOSS, jit_compile=False)
    tokens = (np.arange(8)[:, None] + np.arange(9)).astype(np.int32) % 8
    model.fit(tokens[:, :-1], tokens[:, 1:], batch_size=8, epochs=40, verbose=0)
    assert model.evaluate(tokens[:, :-1], tokens[:, 1:], verbose=0) < 0.1  # initially log 8 = 2.08


def test_save_and_load(tmp_path):
    model = lstm_language_model(9, 2, 3, weight_decay=0.1, dropout=0.1)
    tokens = np.arange(8, dtype=np.int32).reshape(2, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(tokens), model.predict_on_batch(tokens))


@pytest.mark.parametrize("name", ["vocabulary_size", "embedding", "units", "layers"])
def test_sizes_below_1(name):
    with pytest.raises(
        ValueError, match=f"{name}: expected a whole number of at least 1, received 0"
    ):
        lstm_language_model(**{name: 0})


def test_wrong_input_shape():
    with pytest.raises(
        ValueError, match=r"input_shape: expected \(time,\), received \(28, 28, 1\)"
    ):
        lstm_language_model(input_shape=(28, 28, 1))
