import warnings
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from lbkeras.callbacks import BatchSizeScheduler
from lbkeras.data import Pipeline
from lbkeras.errors import UserError

N = 23


def arrays(count=N):
    """Each example holds its own number, which shows what was read."""
    numbers = np.arange(count)
    return numbers.astype(np.uint8).reshape(-1, 1), numbers


def stream(count=N):
    return tf.data.Dataset.from_tensor_slices(arrays(count))


SOURCES = {"arrays": arrays, "stream": stream}
both = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


def labels(pipeline, epoch=0, start_step=0):
    """Returns the numbers of an epoch's examples, one list per batch."""
    return [y.numpy().tolist() for _, y in pipeline.dataset(epoch, start_step)]


def flat(batches):
    return [number for batch in batches for number in batch]


@both
def test_order_is_pure_in_seed_and_epoch(source):
    pipeline = Pipeline(source(), 5, seed=3)
    expected = [labels(pipeline, epoch) for epoch in range(3)]
    for epoch in (2, 0, 1, 1):  # in another order, by another object, after other passes
        assert labels(pipeline, epoch) == expected[epoch]
        assert labels(Pipeline(source(), 5, seed=3), epoch) == expected[epoch]
    assert len({str(batches) for batches in expected}) == 3
    assert labels(Pipeline(source(), 5, seed=4)) != expected[0]


@both
def test_order_does_not_depend_on_the_global_seed(source):
    orders = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        orders.append(labels(Pipeline(source(), 5, seed=3)))
    assert orders[0] == orders[1]


@both
def test_order_does_not_depend_on_the_batch_size(source):
    orders = [flat(labels(Pipeline(source(), size, seed=1), epoch=2)) for size in (1, 4, N)]
    assert orders[1] == orders[0][:20] and orders[2] == orders[0]


@both
def test_remainder_is_dropped_and_differs_between_epochs(source):
    pipeline = Pipeline(source(), 5)
    dropped = []
    for epoch in range(6):
        seen = flat(labels(pipeline, epoch))
        assert len(seen) == len(set(seen)) == 20
        dropped.append(frozenset(range(N)) - set(seen))
    assert len(set(dropped)) > 1


@both
@pytest.mark.parametrize("shuffle", [True, False])
def test_start_step_gives_the_tail_of_the_epoch(source, shuffle):
    pipeline = Pipeline(source(), 5, shuffle=shuffle, seed=2)
    whole = labels(pipeline, epoch=4)
    for start in range(len(whole)):
        assert labels(pipeline, 4, start) == whole[start:]


@both
def test_start_step_of_a_pass(source):
    """Also after a pass from the beginning at the same batch size."""
    pipeline = Pipeline(source(), 5, seed=2)
    passes = []
    for start in (0, 2, 0):
        pipeline.epoch, pipeline.start_step = 1, start
        pipeline.on_epoch_begin()
        passes.append([batch[1].tolist() for batch in pipeline.get_numpy_iterator()])
        assert pipeline.steps_in_pass == 4 - start
        assert (pipeline.epoch, pipeline.start_step) == (2, 0)
    assert passes == [passes[0], passes[0][2:], passes[0]]


def test_resuming_augments_no_earlier_batches():
    """The augmentation runs only for batches from the start step on."""
    calls = []

    def count(x, seed):
        def note(step):
            calls.append(int(step))
            return step

        step = tf.numpy_function(note, [seed[1]], tf.int32)
        with tf.control_dependencies([step]):
            return tf.identity(x)

    pipeline = Pipeline(arrays(), 1, augment=count)
    assert len(labels(pipeline, 0, start_step=20)) == 3
    assert sorted(calls) == [20, 21, 22]


def noise(x, seed):
    return tf.random.stateless_uniform(tf.shape(x), seed)


@both
def test_augmentation_is_pure_in_seed_epoch_and_step(source):
    def drawn(seed, epoch, start_step=0, size=5):
        pipeline = Pipeline(source(), size, augment=noise, seed=seed)
        return [x.numpy().tolist() for x, _ in pipeline.dataset(epoch, start_step)]

    first = drawn(0, 0)
    assert first == drawn(0, 0)
    assert first[2:] == drawn(0, 0, start_step=2)
    draws = first + drawn(0, 1) + drawn(1, 0)
    assert len({str(batch) for batch in draws}) == 12


def test_decode_is_pure_in_seed_epoch_and_place():
    def decode(example, seed):
        x, y = example
        return tf.random.stateless_uniform((1,), seed), y

    def decoded(epoch, size, start=0):
        pipeline = Pipeline(stream(), size, decode=decode, seed=1)
        return [float(v) for x, _ in pipeline.dataset(epoch, start) for v in x.numpy().ravel()]

    first = decoded(0, 5)
    assert len(set(first)) == 20
    assert first == decoded(0, 4)[:20] and first[10:] == decoded(0, 5, start=2)
    assert not set(first) & set(decoded(1, 5))


@both
def test_uint8_and_static_shapes_in_training(source):
    pipeline = Pipeline(source(), 5)
    x, y = pipeline.dataset().element_spec
    assert (x.dtype, x.shape, y.dtype, y.shape) == (tf.uint8, (5, 1), tf.int64, (5,))
    assert all(x.shape == (5, 1) and x.dtype == tf.uint8 for x, _ in pipeline.dataset())
    numbers = [x.numpy().ravel().tolist() for x, _ in pipeline.dataset(epoch=1)]
    assert numbers == labels(pipeline, epoch=1)


@both
def test_evaluation_keeps_order_and_remainder(source):
    pipeline = Pipeline(source(), 5, shuffle=False)
    assert pipeline.steps_per_epoch == 5
    assert pipeline.has_partial_batch and pipeline.partial_batch_size == 3
    assert flat(labels(pipeline, epoch=3)) == list(range(N))
    assert [len(batch) for batch in labels(pipeline)] == [5, 5, 5, 5, 3]


@both
def test_length_is_known(source):
    assert len(Pipeline(source(), 5).dataset()) == 4
    assert len(Pipeline(source(), 5, shuffle=False).dataset()) == 5


@both
@pytest.mark.parametrize("batch_size", [1, N])
def test_smallest_and_largest_batch(source, batch_size):
    pipeline = Pipeline(source(), batch_size)
    batches = labels(pipeline)
    assert {len(batch) for batch in batches} == {batch_size}
    assert sorted(flat(batches)) == list(range(N))
    assert not pipeline.has_partial_batch


def test_stream_longer_than_the_buffer():
    """A buffer of four: an example comes at most three places before its own."""
    four = dict(shuffle_bytes=4 * (2 * 256 + 9))
    pipeline = Pipeline(stream(), 5, **four)
    seen = flat(labels(pipeline))
    assert seen != sorted(seen) and len(set(seen)) == 20
    assert max(number - place for place, number in enumerate(seen)) == 3
    assert seen == flat(labels(Pipeline(stream(), 5, **four)))
    assert max(n - p for p, n in enumerate(flat(labels(Pipeline(stream(), 5))))) > 3


def test_dict_inputs_and_sample_weights():
    x, y = arrays()
    source = ({"a": x, "b": x.astype(np.float32) + 0.5}, y, y * 2.0)
    for inputs, targets, weights in Pipeline(source, 5).dataset():
        np.testing.assert_array_equal(inputs["a"][:, 0] + 0, targets)
        np.testing.assert_array_equal(inputs["b"][:, 0] - 0.5, tf.cast(targets, tf.float32))
        np.testing.assert_array_equal(weights, 2.0 * targets.numpy())


def test_batch_size_may_be_set():
    pipeline = Pipeline(arrays(), 5)
    pipeline.batch_size = np.int64(7)
    assert pipeline.batch_size == 7 and pipeline.steps_per_epoch == 3
    assert [len(batch) for batch in labels(pipeline)] == [7, 7, 7]


def test_range_of_labels(digits):
    assert Pipeline(digits, 10).label_range() == (0, 9)
    assert Pipeline(stream(), 5).label_range() == (0, N - 1)
    assert Pipeline((digits[0], digits[1] * 1.0), 5).label_range() is None
    assert Pipeline(digits[0], 5).label_range() is None


# In Keras, without a scheduler.


def test_fit_without_a_scheduler(compiled, digits):
    model = compiled()
    train = Pipeline(digits, 256)
    history = model.fit(train, epochs=2, validation_data=train.in_order(256), verbose=0)
    assert model.optimizer.iterations == 10
    assert model.sizes() == [256] * 10
    assert len(history.history["val_loss"]) == 2


def test_fit_takes_the_orders_of_the_epochs():
    """The weights equal those of a plain loop over `dataset(epoch)`, so pass e has order e."""
    x = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
    y = x @ np.array([[1.0], [-2.0], [0.5]], np.float32) + 0.3
    train = Pipeline((x, y), 5, seed=4)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss="mse")
    weights = model.get_weights()[0].astype(np.float64)
    for epoch in range(3):
        for batch_x, batch_y in train.dataset(epoch):
            error = batch_x.numpy() @ weights - batch_y.numpy()
            weights -= 0.05 * 2 / 5 * batch_x.numpy().T @ error
    model.fit(train, epochs=3, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], weights, rtol=1e-5, atol=1e-6)


def test_fit_without_a_scheduler_on_two_devices(compiled, digits, mirrored):
    with mirrored.scope():
        model = compiled()
    model.fit(Pipeline(digits, 256), epochs=2, verbose=0)
    one = compiled()
    one.fit(Pipeline(digits, 256), epochs=2, verbose=0)
    assert model.optimizer.iterations == 10
    for ours, expected in zip(model.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_evaluate_and_predict_count_every_example_once(compiled, digits, steps_per_execution):
    model = compiled(steps_per_execution=steps_per_execution)
    x, y = digits
    data = Pipeline((x, y), 100, shuffle=False)
    logits = model.predict(x, batch_size=100, verbose=0)
    accuracy = np.mean(logits.argmax(1) == y)
    loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y])
    received = model.evaluate(data, verbose=0, return_dict=True)
    assert received["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert received["loss"] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(model.predict(data, verbose=0), logits, atol=1e-6)


def linear():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1e-3), "mse", run_eagerly=True)
    return model


class In(keras.callbacks.Callback):
    """Does something at the end of each epoch's second batch and of each epoch."""

    def __init__(self, do):
        super().__init__()
        self.do = do

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            self.do(self.model)

    def on_epoch_end(self, epoch, logs=None):
        self.do(self.model)


def evaluate_some(pipeline, times, model):
    for _ in range(times):
        model.evaluate(pipeline, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("scheduled", [False, True])
def test_an_evaluation_inside_fit_leaves_the_order_of_training_alone(scheduled):
    weights = []
    for evaluations in (0, 1):
        train, model = Pipeline(arrays(), 5, seed=1), linear()
        do = partial(evaluate_some, train, evaluations)
        scheduler = [BatchSizeScheduler(train, lambda epoch, size: 5 - epoch)] * scheduled
        model.fit(train, epochs=3, verbose=0, callbacks=[*scheduler, In(do)])
        assert train.position == (2, 0) and train.epoch == 3
        weights.append(model.get_weights())
    for ours, expected in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_batch_size_that_is_assigned_inside_fit_is_refused(scheduled):
    train = Pipeline(arrays(), 5)
    scheduler = [BatchSizeScheduler(train, lambda epoch, size: 5)] * scheduled
    with pytest.raises(UserError, match="batch_size: expected a callback that changes it"):
        linear().fit(train, verbose=0, callbacks=[*scheduler, In(lambda m: set_size(train, 7))])
    set_size(train, 7)


def set_size(pipeline, size):
    pipeline.batch_size = size


def test_validation_with_the_training_pipeline_is_refused():
    train = Pipeline(arrays(), 5)
    with pytest.raises(UserError, match=r"^validation_data: expected a different Pipeline"):
        linear().fit(train, validation_data=train, verbose=0)


def test_an_evaluation_that_leaves_examples_out_says_so():
    model, shuffled = linear(), Pipeline(arrays(), 5)
    for call in (
        lambda: model.evaluate(shuffled, verbose=0),
        lambda: model.fit(Pipeline(arrays(), 5), validation_data=shuffled, verbose=0),
    ):
        with pytest.warns(UserWarning, match=f"leaves {N % 5} of {N} examples out"):
            call()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.evaluate(shuffled.in_order(5), verbose=0)


@pytest.mark.parametrize("shuffle", [True, False])
def test_none_at_the_end_of_the_parts_is_dropped(shuffle):
    x, y = arrays()
    for given in ((x, y, None), (x, None), (x, None, None)):
        pipeline = Pipeline(given, 4, shuffle=shuffle)
        assert len(pipeline.element_spec) == (2 if given[1] is not None else 1)


def test_a_scheduled_pipeline_without_its_scheduler(compiled, digits):
    """It is an ordinary data set again, in `evaluate` and in another `fit`."""
    model = compiled()
    train = Pipeline(digits, 479)
    scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
    model.fit(train, verbose=0, callbacks=[scheduler])
    model.evaluate(train, verbose=0)
    model.fit(train, verbose=0)
    model.fit(train, verbose=0, callbacks=[scheduler])
    assert model.sizes() == [479] * 9 and model.optimizer.iterations == 9


# Errors that the user can fix.


def batched():
    return stream().batch(4)


def unknown():
    return stream().filter(lambda x, y: y > 3)


def endless():
    return stream().repeat()


@pytest.mark.parametrize(
    "source, message",
    [
        (lambda: (arrays()[0], arrays(22)[1]), "same number of examples, received 22 and 23"),
        (lambda: list(arrays()), "received a list"),
        (lambda: arrays(0), "at least one example, received none"),
        (lambda: stream(0), "at least one example, received none"),
        (unknown, "expected .* known, finite cardinality, received one of unknown"),
        (endless, "expected .* known, finite cardinality, received one of infinite"),
        (batched, "unbatched .* received"),
        (lambda: (np.float32(1), np.float32(2)), "one row per example"),
    ],
)
def test_sources_that_are_not_usable(source, message):
    with pytest.raises(UserError, match=f"source: .*{message}"):
        Pipeline(source(), 1)


@pytest.mark.parametrize(
    "size, message",
    [
        (0, "expected 1 to 23 .* received 0"),
        (-1, "expected 1 to 23 .* received -1"),
        (24, "expected 1 to 23 .* received 24"),
        (4.0, "expected an integer, received 4.0"),
        ("4", "expected an integer, received '4'"),
        (True, "expected an integer, received True"),
        (None, "expected an integer, received None"),
    ],
)
def test_batch_sizes_that_are_not_usable(size, message):
    with pytest.raises(UserError, match=f"batch_size: {message}"):
        Pipeline(arrays(), size)
    pipeline = Pipeline(arrays(), 5)
    with pytest.raises(UserError, match=f"batch_size: {message}"):
        pipeline.batch_size = size
    assert pipeline.batch_size == 5


@pytest.mark.parametrize("stream", [False, True])
def test_in_order_each_example_comes_once_and_unaugmented(stream):
    x, y = np.arange(22.0).reshape(11, 2), np.arange(11)
    source = tf.data.Dataset.from_tensor_slices((x, y)) if stream else (x, y)
    train = Pipeline(source, batch_size=3, augment=lambda x, seed: -x, seed=1)
    for examples, sizes in ((None, [4, 4, 3]), (6, [4, 2]), (2, [2])):
        batches = [(x.numpy(), y.numpy()) for x, y in train.in_order(4, examples).dataset()]
        assert [len(part) for _, part in batches] == sizes
        for number, expected in enumerate((x, y)):
            got = np.concatenate([batch[number] for batch in batches])
            np.testing.assert_array_equal(got, expected[: sum(sizes)])
    with pytest.raises(UserError, match="^examples: expected 1 to 11, received 12"):
        train.in_order(4, 12)
