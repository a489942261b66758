"""Building a model and several steps per call work on replicas as on one device."""

import numpy as np
import pytest
import tensorflow as tf

from tests.keras_internals.one_layer import arrays, fitted, make


@pytest.mark.slow
def test_a_model_that_is_built_costs_no_batch(mirrored):
    begun = []

    def examples():
        begun.append(len(begun))
        yield from zip(*arrays(8), strict=True)

    signature = (tf.TensorSpec((6,)), tf.TensorSpec((2,)))
    data = tf.data.Dataset.from_generator(examples, output_signature=signature).batch(4)
    with mirrored.scope():
        model = make()
    model.evaluate(data, verbose=0)
    built_and_evaluated = len(begun)
    model.fit(*arrays(8), verbose=0)  # builds the optimizer
    for _ in range(3):
        model.evaluate(data, verbose=0)
    assert len(begun) - built_and_evaluated == 3 and built_and_evaluated > 1


@pytest.mark.release  # the gate: patches_test.py, and equivalence_test.py with several steps
@pytest.mark.parametrize("steps_per_execution, calls", [(3, 2), (9, 1)])
def test_steps_per_execution(mirrored, steps_per_execution, calls):
    """The last call has fewer steps; none is lost or added."""
    expected, history, updates, _ = fitted(make())
    with mirrored.scope():
        model = make(steps_per_execution=steps_per_execution)
    weights, logs, iterations, called = fitted(model)
    assert (iterations, called) == (updates, calls) == (5, calls)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert logs == pytest.approx({name: pytest.approx(v, rel=1e-6) for name, v in history.items()})
    if calls == 1:
        return
    x, y = arrays(23)  # the last batch has fewer examples than there are replicas
    single = make()
    single.set_weights(model.get_weights())
    evaluation = model.evaluate(x, y, batch_size=11, verbose=0)
    assert evaluation == pytest.approx(single.evaluate(x, y, batch_size=11, verbose=0), rel=1e-6)
    predicted = model.predict(x, batch_size=11, verbose=0)
    np.testing.assert_allclose(predicted, single.predict(x, verbose=0), rtol=1e-5, atol=1e-7)
