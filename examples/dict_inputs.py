"""Dicts of inputs and outputs: two inputs, two outputs with their own losses and weights, a plan.

python examples/dict_inputs.py
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import lbkeras

keras.utils.set_random_seed(0)

digits = load_digits()
x = {
    "image": (digits.images[..., None] / 16).astype("float32"),
    "ink": digits.data.mean(axis=1, keepdims=True).astype("float32") / 16,
}
y = {"digit": digits.target, "is_even": (digits.target % 2 == 0).astype("float32")}


order = np.random.default_rng(0).permutation(len(digits.target))


def rows(part, chosen):
    return {name: values[chosen] for name, values in part.items()}


train = lbkeras.data.Pipeline((rows(x, order[360:]), rows(y, order[360:])), batch_size=32)
test = lbkeras.data.Pipeline(
    (rows(x, order[:360]), rows(y, order[:360])), batch_size=360, shuffle=False
)

image, ink = keras.Input((8, 8, 1), name="image"), keras.Input((1,), name="ink")
features = keras.layers.Flatten()(keras.layers.Conv2D(16, 3, activation="relu")(image))
features = keras.layers.Dense(64, activation="relu")(keras.layers.Concatenate()([features, ink]))
outputs = {
    "digit": keras.layers.Dense(10, name="digit")(features),
    "is_even": keras.layers.Dense(1, name="is_even")(features),
}
model = keras.Model({"image": image, "ink": ink}, outputs)

# The batch size grows where the learning rate would otherwise fall (Smith et al. 2018).
plan = lbkeras.planning.noise_scale_plan(
    strategy="increase_batch",
    epochs=12,
    boundaries=(6, 9),
    factor=2,
    learning_rate=0.05,
    momentum=0.9,
    batch_size=32,
    num_examples=train.num_examples,
)
model.compile(
    keras.optimizers.SGD(plan.learning_rate_schedule(), momentum=0.9),
    loss={
        "digit": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "is_even": keras.losses.BinaryCrossentropy(from_logits=True),
    },
    loss_weights={"digit": 1.0, "is_even": 0.3},
    metrics={"digit": "accuracy", "is_even": keras.metrics.BinaryAccuracy(threshold=0.0)},
)
history = model.fit(
    train,
    epochs=plan.epochs,
    validation_data=test,
    verbose=0,
    callbacks=[lbkeras.callbacks.BatchSizeScheduler(train, plan, verbose=1)],
).history
print("batch sizes:", [int(size) for size in history["batch_size"]])
print(f"digit:   test accuracy {100 * history['val_digit_accuracy'][-1]:.1f} %")
print(f"is_even: test accuracy {100 * history['val_is_even_binary_accuracy'][-1]:.1f} %")
print(f"{int(model.optimizer.iterations)} updates, as the plan says: {plan.updates()}")
