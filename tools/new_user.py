"""A new user's program: their own arrays and model, and below the line the part with lbkeras."""

import keras
import numpy as np

import lbkeras

data = np.load("mnist.npz")
x, x_test = data["x"] / np.float32(255), data["x_test"] / np.float32(255)


def make_model():
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 5, strides=2, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])
    return model


# ---- lbkeras ----
train = lbkeras.data.Pipeline((x, data["y"]), batch_size=64)
test = lbkeras.data.Pipeline((x_test, data["y_test"]), batch_size=1000, shuffle=False)
advice = lbkeras.advise(make_model, train, epochs=5)
print(advice)
arms = {"own": advice.baseline, "recommended": advice.plan}
result = lbkeras.compare(make_model, train, test, arms=arms, seeds=2, workdir="runs/mnist")
print(result)
