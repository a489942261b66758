"""The state of callbacks in a checkpoint: what is kept, warned about and refused."""

import collections
import json
import warnings

import keras
import numpy as np
import pytest

from lbkeras.callbacks import Checkpoint, HistoryWriter, callback_state
from lbkeras.data import Pipeline
from lbkeras.errors import UserError


def there_and_back(value):
    """Saves a callback's attribute as JSON and arrays and restores it in another callback."""
    arrays, callback, other = {}, keras.callbacks.Callback(), keras.callbacks.Callback()

    class Holds(keras.callbacks.Callback):
        pass

    callback, other = Holds(), Holds()
    callback.value = value
    state = json.loads(json.dumps(callback_state.get_state(callback, "c", arrays)))
    callback_state.set_state(other, state, arrays)
    return other.value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.1,
        float("inf"),
        "text",
        np.float32(0.5),
        (1, (2, "a")),
        [1, [2], {}],
        {0: 1, "a": [2], (1, 2): {3}},
        {1, 2},
        frozenset({1}),
        collections.deque([1, 2], maxlen=3),
    ],
    ids=str,
)
def test_values_and_their_types(value):
    found = there_and_back(value)
    assert found == value
    if not isinstance(value, np.generic):
        assert type(found) is type(value)
    if isinstance(value, collections.deque):
        assert found.maxlen == 3


def test_arrays_and_the_kinds_of_dicts():
    value = {"a": [np.arange(3), (np.ones((2, 2), "float16"),)]}
    found = there_and_back(value)
    np.testing.assert_array_equal(found["a"][0], [0, 1, 2])
    assert found["a"][1][0].dtype == np.float16

    class Counts(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.counts = collections.Counter()
            self.lists = collections.defaultdict(list)

    one, other, arrays = Counts(), Counts(), {}
    one.counts.update("abb")
    one.lists[3].append(1)
    callback_state.set_state(other, callback_state.get_state(one, "c", arrays), arrays)
    assert other.counts == one.counts and type(other.counts) is collections.Counter
    other.lists[4].append(2)
    assert other.lists == {3: [1], 4: [2]}


X, Y = np.zeros((8, 2), "float32"), np.ones((8, 1), "float32")


def run(folder, make, epochs, **checkpoint_arguments):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    train = Pipeline((X, Y), batch_size=4)
    own = make()
    checkpoint = Checkpoint(folder, train, own)
    first = checkpoint.restore(model)
    model.fit(train, epochs=epochs, initial_epoch=first, verbose=0, callbacks=[*own, checkpoint])
    return own


class Teacher(keras.callbacks.Callback):
    """A callback with private attributes, Keras variables and its own model."""

    def __init__(self, step=1):
        super().__init__()
        self.step = step
        self._count = 0
        self.total = keras.Variable(0.0)
        self.average = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def on_epoch_end(self, epoch, logs=None):
        self._count += self.step
        self.total.assign_add(1.0)
        self.average.set_weights([w + 1 for w in self.average.get_weights()])


def test_a_users_callback_resumes(tmp_path):
    (whole,) = run(tmp_path / "whole", lambda: [Teacher()], 3)
    run(tmp_path / "two", lambda: [Teacher()], 2)
    (resumed,) = run(tmp_path / "two", lambda: [Teacher(step=10)], 3)
    assert whole._count == 3 and resumed._count == 2 + 10  # arguments come from the program
    assert float(resumed.total.numpy()) == 3
    first = run(tmp_path / "one", lambda: [Teacher()], 1)[0].average.get_weights()
    assert len(first) == len(resumed.average.get_weights())


class Says(keras.callbacks.Callback):
    """A callback whose state is not in its attributes."""

    def __init__(self):
        super().__init__()
        self.generator = iter(range(100))
        self.seen = 0

    def on_epoch_end(self, epoch, logs=None):
        self.seen = next(self.generator)

    def get_state(self):
        return {"seen": self.seen, "pair": (1, np.arange(2))}

    def set_state(self, state):
        assert state["pair"][0] == 1 and state["pair"][1].tolist() == [0, 1]
        self.seen = state["seen"]
        self.generator = iter(range(self.seen + 1, 100))


def test_the_protocol(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run(tmp_path, lambda: [Says()], 2)
        assert run(tmp_path, lambda: [Says()], 4)[0].seen == 3


def test_a_warning_names_what_is_not_kept(tmp_path):
    class Reads(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.lines = open(__file__)

        def on_train_end(self, logs=None):
            self.lines.close()

    with pytest.warns(UserWarning, match=r"Reads: a checkpoint does not keep lines; give"):
        run(tmp_path, lambda: [Reads()], 1)


def test_the_order_and_display_callbacks_may_change(tmp_path):
    def early():
        return keras.callbacks.EarlyStopping("loss", patience=9)

    run(tmp_path, lambda: [early(), Says(), keras.callbacks.TensorBoard(tmp_path / "t")], 2)
    said, stop = run(tmp_path, lambda: [Says(), early()], 3)
    assert said.seen == 2 and stop.best_epoch == 2
    show = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    assert run(tmp_path, lambda: [show, Says(), early()], 4)[1].seen == 3


def test_a_state_without_its_callback_is_refused(tmp_path):
    run(tmp_path, lambda: [Says()], 1)
    with pytest.raises(UserError, match="expected the Says whose state it holds among .* received"):
        run(tmp_path, lambda: [], 2)


def test_an_attribute_that_is_not_state_is_not_set(tmp_path):
    writer = HistoryWriter(tmp_path / "history.jsonl")
    for attributes in ({"path": "/elsewhere"}, {"on_epoch_end": 1}):
        with pytest.raises(UserError, match="expected attributes that HistoryWriter keeps"):
            callback_state.set_state(writer, {"attributes": attributes}, {})
    assert writer.path == tmp_path / "history.jsonl"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"wait": "abc"}, "EarlyStopping.wait of type int, received str"),
        ({"wait": {"list": [1]}}, "EarlyStopping.wait of type int, received list"),
        (
            {"stopped_epoch": {"array": "missing"}},
            "state of EarlyStopping, received a malformed one",
        ),
        ({"stopped_epoch": {}}, "state of EarlyStopping, received a malformed one"),
        (
            {"stopped_epoch": {"set": [{"list": []}]}},
            "state of EarlyStopping, received a malformed one",
        ),
        ({"stopped_epoch": {"dict": 3}}, "state of EarlyStopping, received a malformed one"),
        ({"stopped_epoch": {"deque": []}}, "state of EarlyStopping, received a malformed one"),
        ({"stopped_epoch": {"variables": ["a"]}}, "1 variables of int, received 0"),
        ({"stopped_epoch": {"module": "os"}}, "the state of a callback, received 'module'"),
    ],
)
def test_a_malformed_state_is_refused(attributes, expected):
    stopping = keras.callbacks.EarlyStopping()
    with pytest.raises(UserError, match=f"expected .*{expected}"):
        callback_state.set_state(stopping, {"attributes": attributes}, {})
    assert stopping.wait == stopping.stopped_epoch == 0


def test_numbers_may_change_type_and_users_attributes_any_type():
    stopping = keras.callbacks.EarlyStopping()
    callback_state.set_state(stopping, {"attributes": {"wait": 1.5, "stopped_epoch": None}}, {})
    assert (stopping.wait, stopping.stopped_epoch) == (1.5, None)

    class Changes(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.total = 0

    changes = Changes()
    callback_state.set_state(changes, {"attributes": {"total": {"list": [1]}}}, {})
    assert changes.total == [1]


def test_a_malformed_file_counts_as_damaged(tmp_path):
    run(tmp_path, lambda: [], 1)
    file = tmp_path / "update_000000002.npz"
    with np.load(file) as archive:
        parts = dict(archive)
    state = json.loads(bytes(parts.pop("state")))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    checkpoint = Checkpoint(tmp_path, Pipeline((X, Y), batch_size=4))
    for changed in (
        {"epoch": "1"},
        {"step": -1},
        {"batch_size": True},
        {"callbacks": [3]},
        {"callbacks": [{"class": "Says", "attributes": []}]},
        {"dtypes": None},
    ):
        text = json.dumps(state | changed).encode()
        np.savez(file, state=np.frombuffer(text, np.uint8), **parts)
        said = []
        assert checkpoint.restore(model, said.append) == 0, changed
        assert len(said) == 1 and "is damaged and skipped" in said[0]


@pytest.mark.slow
def test_averaged_weights_swapped_at_each_epochs_end(tmp_path):
    def train(folder, epochs):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), "mse")
        x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
        data = Pipeline((x, x @ np.array([[1.0], [2.0], [3.0]], "float32")), batch_size=8)
        others = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]
        checkpoint = Checkpoint(folder, data, others)
        first = checkpoint.restore(model)
        chosen = [*others, checkpoint]
        model.fit(data, epochs=epochs, initial_epoch=first, verbose=0, callbacks=chosen)
        return model.get_weights()

    whole = train(tmp_path / "whole", 6)
    train(tmp_path / "two", 3)
    for ours, expected in zip(train(tmp_path / "two", 6), whole, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_damaged_files_are_set_aside_and_the_newest_good_one_stays(tmp_path):
    run(tmp_path, lambda: [], 2)
    good = sorted(tmp_path.glob("*.npz"))
    for number in (900, 901):
        (tmp_path / f"update_{number:09d}.npz").write_bytes(good[0].read_bytes()[:100])
    for file in good:
        file.unlink()
    run(tmp_path, lambda: [], 3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "update_000000004.npz",
        "update_000000006.npz",
        "update_000000900.npz.damaged",
        "update_000000901.npz.damaged",
    ]
