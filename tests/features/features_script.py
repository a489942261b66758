"""Trains with one Keras feature after the other, in one way, and records the outcomes.

    python features_script.py STRATEGY NUM_LOGICAL_DEVICES WAY FEATURE,FEATURE,... RESULT

WAY is `whole` or `pieces`. Each feature is one `fit` with a growing batch under the strategy. Its
outcome is the error that refused it, or the weights and logs. `features_test.py` compares them.
"""

import json
import sys

import numpy as np

from lbkeras.devices import configure_devices

configure_devices(num_logical_devices=int(sys.argv[2]))

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

import lbkeras  # noqa: E402
from lbkeras import distribution  # noqa: E402
from lbkeras.errors import UserError  # noqa: E402
from lbkeras.keras_internals.tf_data import switch_autotuner_off  # noqa: E402

switch_autotuner_off()

N = 48
PLAN = lbkeras.planning.Plan(
    [
        lbkeras.planning.Phase(0, 1, 8, 0.1, 0.9),
        lbkeras.planning.Phase(1, 2, 16, 0.1, 0.9),
    ],
    N,
)
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(N, 6)).astype("float32")
Y = np.tanh(X @ DRAW.normal(size=(6, 3))).astype("float32")
WEIGHTS = DRAW.uniform(0.1, 2, N).astype("float32")
TOKENS = DRAW.integers(1, 9, (N, 5)) * (np.arange(5) < DRAW.integers(1, 6, (N, 1)))
LABELS = DRAW.integers(0, 3, (N, 5))


def dense(*layers, regularizer=None):
    """Makes a model of two dense layers, with other layers between them."""
    first = keras.layers.Dense(8, "tanh", kernel_regularizer=regularizer)
    return keras.Sequential([keras.Input((6,)), first, *layers, keras.layers.Dense(3)])


def sgd(**arguments):
    return keras.optimizers.SGD(PLAN.learning_rate_schedule(), momentum=0.9, **arguments)


def compiled(model=None, optimizer=None, **options):
    model = model or dense()
    model.compile(optimizer or sgd(), **({"loss": "mse", "metrics": ["mae"]} | options))
    return model


def optimized(**arguments):
    return lambda: dict(model=compiled(optimizer=sgd(**arguments)))


def by_loss(loss):
    return lambda: dict(model=compiled(loss=loss()))


def masks():
    layers = [keras.Input((5,), dtype="int32"), keras.layers.Embedding(9, 4, mask_zero=True)]
    model = keras.Sequential([*layers, keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dict(model=compiled(model, loss=loss, metrics=["accuracy"]), data=(TOKENS, LABELS))


def several_outputs():
    inputs = {"a": keras.Input((6,), name="a"), "b": keras.Input((6,), name="b")}
    hidden = keras.layers.Dense(4, "tanh")(keras.layers.Add()(list(inputs.values())))
    outputs = {name: keras.layers.Dense(3, name=name)(hidden) for name in ("c", "d")}
    model = keras.Model(inputs, outputs)
    losses = dict(loss={"c": "mse", "d": "mae"}, loss_weights={"c": 1.0, "d": 0.5})
    data = {"a": X, "b": X[::-1]}, {"c": Y, "d": Y[::-1]}
    return dict(model=compiled(model, **losses, metrics={"c": "mae"}), data=data)


def of_pairs(y, y_pred):
    order = keras.ops.sign(y[:, :1] - keras.ops.transpose(y[:, :1]))
    score = y_pred[:, :1] - keras.ops.transpose(y_pred[:, :1])
    return keras.ops.mean(keras.ops.relu(1 - order * score), axis=1)


@keras.saving.register_keras_serializable("features")
class AddsLoss(keras.layers.Layer):
    def call(self, x):
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(x)))
        return x


class OwnStep(keras.Sequential):
    """A model with the train step shown in Keras' guide."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        return {"own": loss}


def own_step():
    return dict(model=compiled(OwnStep(dense().layers), metrics=None), logs=["batch_size"])


def mixed(policy):
    def make():
        keras.config.set_dtype_policy(policy)
        try:
            return dict(model=compiled(dense()), tolerance=2e-2)
        finally:
            keras.config.set_dtype_policy("float32")

    return make


def averaged(**arguments):
    return optimized(use_ema=True, ema_momentum=0.5, **arguments)


def with_callbacks(*make):
    return lambda: dict(model=compiled(), callbacks=[each() for each in make])


FEATURES = {
    "sample weights": lambda: dict(model=compiled(weighted_metrics=["mae"]), data=(X, Y, WEIGHTS)),
    "masks": masks,
    "class_weight": lambda: dict(model=compiled(), options=dict(class_weight={0: 1.0, 1: 2.0})),
    "several inputs and outputs": several_outputs,
    "loss: mean": lambda: dict(model=compiled()),
    "loss: mean_with_sample_weight": lambda: dict(
        model=compiled(loss=keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")),
        data=(X, Y, WEIGHTS),
    ),
    "loss: sum": by_loss(lambda: keras.losses.MeanSquaredError(reduction="sum")),
    "loss: no reduction": by_loss(lambda: keras.losses.MeanSquaredError(reduction=None)),
    "loss: over pairs of the batch": by_loss(lambda: of_pairs),
    "loss: one number for the batch": by_loss(
        lambda: lambda y, y_pred: keras.ops.mean(keras.ops.square(y - y_pred))
    ),
    "weight regularizers": lambda: dict(model=compiled(dense(regularizer="l2"))),
    "add_loss, activity regularizers": lambda: dict(
        model=compiled(dense(AddsLoss(), keras.layers.ActivityRegularization(0.01)))
    ),
    "clipvalue": optimized(clipvalue=0.02),
    "clipnorm": optimized(clipnorm=0.05),
    "global_clipnorm": optimized(global_clipnorm=0.05),
    "use_ema": averaged(),
    "ema_overwrite_frequency": averaged(ema_overwrite_frequency=2),
    "SwapEMAWeights": lambda: dict(
        **averaged()(), callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]
    ),
    "gradient_accumulation_steps": optimized(gradient_accumulation_steps=2),
    "mixed_bfloat16": mixed("mixed_bfloat16"),
    "mixed_float16, LossScaleOptimizer": mixed("mixed_float16"),
    "own train_step": own_step,
    "steps_per_execution": lambda: dict(model=compiled(steps_per_execution=3)),
    "jit_compile": lambda: dict(model=compiled(jit_compile=True)),
    "run_eagerly": lambda: dict(model=compiled(run_eagerly=True)),
    "steps_per_epoch": lambda: dict(model=compiled(), options=dict(steps_per_epoch=2)),
    "LearningRateScheduler beside a plan": with_callbacks(
        lambda: keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)
    ),
    "ReduceLROnPlateau beside a plan": with_callbacks(
        lambda: keras.callbacks.ReduceLROnPlateau("loss")
    ),
    "EarlyStopping": with_callbacks(
        lambda: keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    ),
    "a tf.data stream": lambda: dict(
        model=compiled(), data=tf.data.Dataset.from_tensor_slices((X, Y))
    ),
    "adversarial copies (ConcurrentAdversarial)": lambda: dict(
        model=compiled(),
        of_pipeline=lambda train: [lbkeras.callbacks.ConcurrentAdversarial(train, 0.1)],
    ),
}


def outcome(feature: str, in_pieces: bool) -> dict:
    keras.utils.set_random_seed(1)
    with STRATEGY.scope():
        made = FEATURES[feature]()
    model = made["model"]
    train = lbkeras.data.Pipeline(made.get("data", (X, Y)), 8, seed=2)
    callbacks = [lbkeras.callbacks.BatchSizeScheduler(train, PLAN), *made.get("callbacks", [])]
    callbacks += made.get("of_pipeline", lambda train: [])(train)
    if in_pieces:
        piece = 3 if STRATEGY.num_replicas_in_sync == 1 else 2
        callbacks.append(lbkeras.callbacks.MicroBatches(train, piece))
    options = dict(epochs=3, verbose=0) | made.get("options", {})
    try:
        logs = model.fit(train, callbacks=callbacks, **options).history
    except UserError as error:
        updates = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
        return {"refused": str(error), "updates": updates}
    weights = [np.asarray(w, "float64").ravel() for w in model.get_weights()]
    logs = {name: logs[name] for name in made.get("logs", logs)}
    return {
        "weights": np.concatenate(weights).tolist(),
        "logs": {name: np.asarray(values, "float64").tolist() for name, values in logs.items()},
        "tolerance": made.get("tolerance", 1e-5),
    }


if __name__ == "__main__":
    STRATEGY = distribution.strategy(sys.argv[1])
    outcomes = {}
    for name in sys.argv[4].split("|"):
        try:
            outcomes[name] = outcome(name, sys.argv[3] == "pieces")
        except Exception as error:  # the other features are still tried
            outcomes[name] = {"raised": f"{type(error).__name__}: {error}"[:600]}
    np.savez(sys.argv[-1], outcomes=json.dumps(outcomes))
