import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.keras_internals import optimizer as internals


def variables():
    return [keras.Variable(np.ones((2, 3), "f")), keras.Variable(np.ones(3, "f"))]


def test_the_learning_rate_as_it_is_held():
    schedule = keras.optimizers.schedules.CosineDecay(0.5, 10)
    optimizer = keras.optimizers.SGD(schedule)
    assert internals.learning_rate_of(optimizer) is schedule
    assert float(internals.learning_rate_of(keras.optimizers.SGD(0.25))) == 0.25


def test_another_learning_rate_in_its_place():
    optimizer, (weight, _) = keras.optimizers.SGD(0.5), variables()
    optimizer.build([weight])
    number = internals.learning_rate_of(optimizer)
    internals.set_learning_rate(optimizer, keras.optimizers.schedules.CosineDecay(2.0, 10))
    optimizer.apply([tf.ones((2, 3))])
    np.testing.assert_allclose(weight, np.full((2, 3), -1.0))
    assert number in optimizer.variables  # at its index, for checkpoints
    internals.set_learning_rate(optimizer, number)
    optimizer.apply([tf.ones((2, 3))])
    np.testing.assert_allclose(weight, np.full((2, 3), -1.5))


def test_the_place_of_a_variable():
    optimizer, built = keras.optimizers.Adam(), variables()
    optimizer.build(built)
    assert [internals.variable_index(optimizer, v) for v in reversed(built)] == [1, 0]
    kept = internals.trained_variables(optimizer)
    assert [id(v) for v in kept] == [id(v) for v in built]


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Nadam", "RMSprop"])
def test_second_moments(name):
    optimizer, built = getattr(keras.optimizers, name)(), variables()
    optimizer.build(built)
    decay = getattr(optimizer, "beta_2", None) or optimizer.rho
    optimizer.apply([3 * tf.ones((2, 3)), 2 * tf.ones(3)])
    moments = internals.second_moments(optimizer)
    for moment, gradient in zip(moments, (3.0, 2.0), strict=True):
        np.testing.assert_allclose(moment, (1 - decay) * gradient**2 * np.ones(moment.shape), 1e-4)


def test_clipping_is_keras_own():
    gradients = [tf.constant([3.0, 4.0]), tf.constant([0.0])]
    clipped = internals.clip(keras.optimizers.SGD(clipnorm=1.0), gradients)
    np.testing.assert_allclose(clipped[0], [0.6, 0.8], rtol=1e-6)
    clipped = internals.clip(keras.optimizers.SGD(clipvalue=3.5), gradients)
    np.testing.assert_allclose(clipped[0], [3.0, 3.5])


def test_clipping_before_the_sum_is_what_the_patch_ends(mirrored):
    assert not internals.clips_before_sum()


def test_an_optimizer_that_sums_in_its_own_way():
    class Own(keras.optimizers.SGD):
        pass

    assert internals.sums_over_replicas(keras.optimizers.SGD())
    assert internals.sums_over_replicas(Own())
    name = "_all_reduce_sum_gradients"
    setattr(Own, name, lambda self, gradients_and_variables: gradients_and_variables)
    assert not internals.sums_over_replicas(Own())


def test_apply_and_sum_are_replaced_until_they_are_restored(mirrored):
    called = []
    with mirrored.scope():
        weight = keras.Variable(np.ones(2, "f"))
        optimizer = keras.optimizers.SGD(0.5)
        optimizer.build([weight])

    def apply(gradients, variables):
        called.append("apply")
        own(gradients, variables)

    def total(gradients_and_variables):
        called.append("sum")
        return [(10 * gradient, variable) for gradient, variable in gradients_and_variables]

    def step():
        mirrored.run(lambda: optimizer.apply([tf.ones(2)], [weight]))
        return np.asarray(weight.value.values[0] if hasattr(weight.value, "values") else weight)

    own = internals.replace_apply(optimizer, apply)
    internals.replace_sum(optimizer, total)
    np.testing.assert_allclose(step(), 1 - 0.5 * 10)
    assert sorted(called) == ["apply"] * 2 + ["sum"] * 2  # each replica
    internals.restore_apply_and_sum(optimizer)
    np.testing.assert_allclose(step(), 1 - 0.5 * 10 - 0.5 * 2)  # Keras' sum of two ones
    assert len(called) == 4


def test_own_weight_decay_is_not_keras_too():
    class Rule(internals.OwnWeightDecay):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, learning_rate * (gradient + self.weight_decay * variable))

    weight = keras.Variable(np.full(2, 8.0, "f"))
    Rule(0.5, weight_decay=0.25).apply([tf.ones(2)], [weight])
    np.testing.assert_allclose(weight, 8 - 0.5 * (1 + 0.25 * 8))


def test_own_clipping_replaces_that_of_keras():
    class SGD(internals.OwnClipping, keras.optimizers.SGD):
        def clip_gradients(self, gradients):
            return [gradient + 1 for gradient in gradients]

    weight = keras.Variable(np.zeros(2, "f"))
    optimizer = SGD(0.5)
    optimizer.apply([tf.ones(2)], [weight])
    np.testing.assert_allclose(weight, -0.5 * (1 + 1))
    assert optimizer.num_replicas_in_sync == 1


def test_own_clipping_without_overrides_is_keras():
    class SGD(internals.OwnClipping, keras.optimizers.SGD):
        pass

    weights = [keras.Variable(np.array([3.0, 4.0], "f")) for _ in range(2)]
    for kind, weight in zip((SGD, keras.optimizers.SGD), weights, strict=True):
        kind(0.5, momentum=0.9, clipnorm=1.0, weight_decay=0.1).apply([tf.ones(2)], [weight])
    np.testing.assert_array_equal(*map(np.asarray, weights))
