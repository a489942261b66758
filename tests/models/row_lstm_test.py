import keras
import numpy as np
import pytest

from lbkeras.models import row_lstm


@pytest.mark.parametrize("units, projection", [(128, 128), (64, 16), (32, 0)])
def test_parameters(units, projection):
    """Projection, four gates from a row and the state, logits."""
    row = projection or 28
    expected = (28 + 1) * projection + 4 * (row + units + 1) * units + (units + 1) * 10
    assert row_lstm(units=units, projection=projection).count_params() == expected


def test_kernels_are_the_papers():
    """256 by 512 together, You et al., arXiv:1901.08256."""
    cell = row_lstm().get_layer("lstm").cell
    assert cell.kernel.shape == cell.recurrent_kernel.shape == (128, 512)


def test_reads_rows_from_top_to_bottom():
    model = row_lstm((4, 3, 2), 5, units=2, projection=0, mean=0, standard_deviation=1)
    rows = keras.Model(model.inputs, model.get_layer("rows").output)
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 3, 2), dtype=np.uint8)
    np.testing.assert_array_equal(rows.predict_on_batch(images), images.reshape(2, 4, 6))


def test_weight_decay_on_both_kernels():
    model = row_lstm((4, 4, 1), 5, units=2, projection=3, weight_decay=0.1)
    kernels = [v.numpy() for v in model.trainable_variables if v.path.endswith("kernel")]
    assert len(kernels) == len(model.losses) == 4
    expected = 0.05 * sum(np.square(k.astype(np.float64)).sum() for k in kernels)
    np.testing.assert_allclose(sum(float(loss) for loss in model.losses), expected, rtol=1e-5)
