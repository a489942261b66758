"""Your own arrays and model: which batch size and learning rate, and does the accuracy hold?

    python examples/own_arrays.py

Runs and report are kept in the folder runs/own_arrays; the same command resumes from there.
"""

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lbkeras

# Your arrays: x has one row per example, y its label.
x, y = load_digits(return_X_y=True)
x = (x.reshape(-1, 8, 8, 1) / 16).astype("float32")
x, x_test, y, y_test = train_test_split(x, y, test_size=360, random_state=0)
train = lbkeras.data.Pipeline((x, y), batch_size=16)
test = lbkeras.data.Pipeline((x_test, y_test), batch_size=360, shuffle=False)


def make_model():
    """Returns a new compiled model at each call."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.02, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


# Measures for a few seconds, then recommends a plan and gives the reasons.
advice = lbkeras.advise(make_model, train, epochs=8)
print(advice)

# Trains with your present settings and with the recommended plan, two seeds each.
result = lbkeras.compare(
    make_model,
    train,
    test,
    arms={"own": advice.baseline, "recommended": advice.plan},
    seeds=2,
    workdir="runs/own_arrays",
)
print(result)
