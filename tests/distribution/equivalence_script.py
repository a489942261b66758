"""Trains, evaluates and predicts under one strategy and writes the results.

    python equivalence_script.py STRATEGY NUM_LOGICAL_DEVICES CASE,CASE,... RESULT

`equivalence_test.py` runs it under several strategies and compares the results. All training batch
sizes are multiples of 12, for one to four replicas and two or three workers.
"""

import functools
import sys
import tempfile

import numpy as np

from lbkeras.devices import configure_devices

configure_devices(num_logical_devices=int(sys.argv[2]))

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from lbkeras import distribution  # noqa: E402
from lbkeras.callbacks import AverageStatistics, BatchSizeScheduler, MicroBatches  # noqa: E402
from lbkeras.data import Pipeline  # noqa: E402
from lbkeras.keras_internals.tf_data import switch_autotuner_off  # noqa: E402
from lbkeras.layers import GhostBatchNormalization  # noqa: E402
from lbkeras.optimizers import LARS  # noqa: E402
from lbkeras.planning import Phase, Plan  # noqa: E402

switch_autotuner_off()

N = 150
PLAN = Plan([Phase(0, 2, 12, 0.1, 0.9), Phase(2, 1, 24, 0.1, 0.9)], N)  # 12 + 12 + 6 steps
PLAN_OF_ADAM = Plan([Phase(0, 2, 12, 0.01, 0.0), Phase(2, 1, 24, 0.01, 0.0)], N)


def sgd(**arguments):
    return keras.optimizers.SGD(PLAN.learning_rate_schedule(), momentum=0.9, **arguments)


def lars():
    return LARS(PLAN.learning_rate_schedule(), weight_decay=1e-4, trust_coefficient=0.1)


def adam():
    return keras.optimizers.Adam(PLAN_OF_ADAM.learning_rate_schedule())


def arrays(count=N):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(N, 6)).astype(np.float32)
    noise = 0.1 * generator.normal(size=(N, 3))
    y = np.tanh(x @ generator.normal(size=(6, 3)) + noise).astype(np.float32)
    return x[:count], y[:count]


def stream(count=N):
    return tf.data.Dataset.from_tensor_slices(arrays(count))


class Rows:
    """A user's object that gives the arrays row by row; `places` lists the rows that were read."""

    def __init__(self, count=N):
        self._arrays = arrays(count)
        self.places = []

    def __len__(self):
        return len(self._arrays[0])

    def __getitem__(self, place):
        self.places.append(place)
        return tuple(part[place] for part in self._arrays)


def jitter(x, seed):
    return x + 0.1 * tf.random.stateless_normal(tf.shape(x), seed)


def jitter_one(example, seed):
    return jitter(example[0], seed), example[1]


def compiled(optimizer, *, norm=False, steps_per_execution=1):
    keras.utils.set_random_seed(1)
    with STRATEGY.scope():
        layers = [keras.Input((6,)), keras.layers.Dense(8, activation="tanh")]
        if norm:
            layers.append(keras.layers.BatchNormalization(synchronized=True))
        model = keras.Sequential([*layers, keras.layers.Dense(3)])
        model.compile(
            optimizer=optimizer(),
            loss="mse",
            metrics=["mae"],
            steps_per_execution=steps_per_execution,
        )
    return model


def trained(
    train,
    optimizer=sgd,
    *,
    scheduled=True,
    epochs=3,
    initial_epoch=0,
    micro=None,
    whole=False,
    **options,
):
    """Runs `fit`; returns its weights, logs and updates, and with `whole` also predictions."""
    model = compiled(optimizer, **options)
    plan = PLAN_OF_ADAM if optimizer is adam else PLAN
    callbacks = [BatchSizeScheduler(train, plan)] if scheduled else []
    callbacks += [MicroBatches(train, micro)] if micro else []
    history = model.fit(
        train,
        epochs=epochs,
        initial_epoch=initial_epoch,
        validation_data=Pipeline(arrays(61), 12, shuffle=False) if whole else None,  # 1 left over
        callbacks=callbacks,
        verbose=0,
    ).history
    out = {name: np.asarray(values) for name, values in history.items()}
    out["weights"] = np.concatenate([w.ravel() for w in model.get_weights()])
    out["updates"] = model.optimizer.iterations.numpy()
    if whole:
        data = Pipeline(stream(53), 10, shuffle=False)
        out["evaluation"] = model.evaluate(data, verbose=0)
        out["predictions"] = model.predict(data, verbose=0)
    return out


def evaluated():
    """Evaluates and predicts a few examples from memory, streams and plain arrays."""
    out = {}
    model = compiled(sgd)
    for count, size in ((1, 1), (5, 2), (23, 7)):
        x, y = arrays(count)
        memory = Pipeline((x, y), size, shuffle=False)
        data = Pipeline(stream(count), size, shuffle=False)
        rows = Pipeline(Rows(count), size, shuffle=False)
        out[f"memory/{count}/{size}"] = model.evaluate(memory, verbose=0)
        out[f"rows/{count}/{size}"] = model.evaluate(rows, verbose=0)
        out[f"stream/{count}/{size}"] = model.evaluate(data, verbose=0)
        out[f"arrays/{count}/{size}"] = model.evaluate(x, y, batch_size=size, verbose=0)
    for steps_per_execution in (1, 3):
        model = compiled(sgd, steps_per_execution=steps_per_execution)
        out[f"{steps_per_execution}/memory/predicted"] = model.predict(memory, verbose=0)
        out[f"{steps_per_execution}/arrays/predicted"] = model.predict(x, batch_size=7, verbose=0)
    out["several/memory"] = model.evaluate(memory, verbose=0)
    out["several/arrays"] = model.evaluate(x, y, batch_size=7, verbose=0)
    return out


def resumed():
    """Resumes in the second epoch at its fifth step."""
    train = Pipeline(arrays(), 12, seed=2)
    train.start_step = 5
    return trained(train, initial_epoch=1)


def read(**arguments):
    """Returns what this worker reads of an epoch, and the rows that its replicas get."""
    rows = Rows()
    data = Pipeline(rows, 12, seed=2, **arguments)
    rows.places.clear()
    data.use_strategy(STRATEGY)
    local = STRATEGY.experimental_local_results
    batches = data._passes._distributed(functools.partial(data._passes._epoch_dataset, 3, 0))
    x = [np.concatenate([part.numpy() for part in local(batch[0])]) for batch in batches]
    return {"x": np.stack(x), "places": np.sort(rows.places)}


def plain():
    """Trains on plain arrays in order, with a full last batch."""
    model = compiled(sgd)
    x, y = arrays(144)
    history = model.fit(x, y, batch_size=24, epochs=2, shuffle=False, verbose=0).history
    return {"weights": np.concatenate([w.ravel() for w in model.get_weights()]), **history}


def averaged(micro=None):
    """Checks that evaluation under the strategy equals that of the saved model on one device."""
    keras.utils.set_random_seed(1)
    with STRATEGY.scope():
        norms = [
            keras.layers.BatchNormalization(momentum=0.8),
            GhostBatchNormalization(2, momentum=0.8),
            keras.layers.BatchNormalization(momentum=0.8, synchronized=True),
        ]
        model = keras.Sequential([keras.Input((6,)), *norms, keras.layers.Dense(3)])
        model.compile(sgd(), "mse", metrics=["mae"])
    train, test = memory(), Pipeline(arrays(61), 12, shuffle=False)
    callbacks = [BatchSizeScheduler(train, PLAN), AverageStatistics()]
    callbacks += [MicroBatches(train, micro)] if micro else []
    history = model.fit(train, epochs=3, validation_data=test, callbacks=callbacks, verbose=0)
    evaluation = model.evaluate(test, verbose=0, callbacks=[AverageStatistics()])
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")  # in all workers, as it reads values of each replica
        saved = keras.models.load_model(f"{folder}/model.keras")
    logs = [history.history[name][-1] for name in ("val_loss", "val_mae")]
    for each in (evaluation, logs):
        np.testing.assert_allclose(each, saved.evaluate(*arrays(61), verbose=0), rtol=1e-6)
    return {"updates": model.optimizer.iterations.numpy()}


def masked(micro=None):
    """Trains with masks, weights and sums, where each replica's part has another loss divisor."""
    keras.utils.set_random_seed(1)
    with STRATEGY.scope():
        inputs = keras.Input((6,), dtype="int32")
        embedded = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
        outputs = {
            name: keras.layers.Dense(3, name=name, kernel_regularizer="l2")(embedded)
            for name in ("mean", "weighted", "sum")
        }
        model = keras.Model(inputs, outputs)
        crossentropy = keras.losses.SparseCategoricalCrossentropy
        model.compile(
            sgd(),
            loss=dict(
                mean=crossentropy(from_logits=True, ignore_class=2),
                weighted=crossentropy(from_logits=True, reduction="mean_with_sample_weight"),
                sum=keras.losses.MeanSquaredError(reduction="sum"),
            ),
            loss_weights=dict(mean=1.0, weighted=2.0, sum=0.01),
            metrics=dict(mean=["accuracy"]),
            weighted_metrics=dict(weighted=["accuracy"]),
        )

    def examples(count):
        generator = np.random.default_rng(0)
        lengths = np.where(np.arange(count) % 12 < 6, 6, generator.integers(0, 3, count))
        x = generator.integers(1, 9, (count, 6)) * (np.arange(6) < lengths[:, None])
        y = generator.integers(0, 3, (count, 6))
        targets = {"mean": y, "weighted": y, "sum": generator.normal(size=(count, 6, 3))}
        weights = {name: generator.uniform(0.1, 2, (count, 6)) for name in targets}
        return x.astype("int32"), targets, weights

    train, test = Pipeline(examples(N), 12, seed=2), Pipeline(examples(61), 12, shuffle=False)
    callbacks = [BatchSizeScheduler(train, PLAN)]
    callbacks += [MicroBatches(train, micro)] if micro else []
    fit = model.fit(train, epochs=3, validation_data=test, callbacks=callbacks, verbose=0)
    out = {name: np.asarray(values) for name, values in fit.history.items()}
    out["weights"] = np.concatenate([w.ravel() for w in model.get_weights()])
    return out


def clipping(**argument):
    return lambda: sgd(**argument)


def memory(**arguments):
    return Pipeline(arrays(), 12, seed=2, **arguments)


CASES = {
    "sgd": lambda: trained(memory(), whole=True),
    "lars": lambda: trained(memory(), lars),
    "adam": lambda: trained(memory(), adam),
    "norm": lambda: trained(memory(), norm=True),
    "executions": lambda: trained(memory(), steps_per_execution=5, whole=True),
    "augmented": lambda: trained(memory(augment=jitter)),
    "stream": lambda: trained(Pipeline(stream(), 12, decode=jitter_one), steps_per_execution=3),
    "unscheduled": lambda: trained(memory(), scheduled=False),
    "unscheduled_stream": lambda: trained(Pipeline(stream(), 12), scheduled=False),
    "clipped_together": lambda: trained(memory(), clipping(global_clipnorm=0.05)),
    "clipped": lambda: trained(memory(), clipping(clipnorm=0.02), epochs=1),
    "rows": lambda: trained(Pipeline(Rows(), 12, decode=jitter_one), steps_per_execution=3),
    "unscheduled_rows": lambda: trained(Pipeline(Rows(), 12), scheduled=False),
    "read": read,
    "read_shards": lambda: read(shuffle="shards", shuffle_bytes=1 << 13),
    "resumed": resumed,
    "plain": plain,
    "evaluated": evaluated,
    "averaged": averaged,
    "masked": masked,
    # In pieces of 5 examples, with a smaller last piece; equal to the case of the same name.
    "sgd in pieces": lambda: trained(memory(), micro=5),
    "lars in pieces": lambda: trained(memory(), lars, micro=5),
    "adam in pieces": lambda: trained(memory(), adam, micro=5),
    "executions in pieces": lambda: trained(memory(), steps_per_execution=5, micro=5),
    "averaged in pieces": lambda: averaged(micro=2),
    "masked in pieces": lambda: masked(micro=2),
    "stream in pieces": lambda: trained(
        Pipeline(stream(), 12, decode=jitter_one), steps_per_execution=3, micro=5
    ),
}

if __name__ == "__main__":
    STRATEGY = distribution.strategy(sys.argv[1])
    results = {"replicas": STRATEGY.num_replicas_in_sync}
    for case in sys.argv[3].split(","):
        results |= {f"{case}: {name}": value for name, value in CASES[case]().items()}
    np.savez(sys.argv[-1], **results)
