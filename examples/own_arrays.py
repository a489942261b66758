"""Your own arrays and model: the batch grows while it trains, in one ordinary `model.fit`.

python examples/own_arrays.py
"""

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lbkeras

keras.utils.set_random_seed(0)

# Your arrays: x has one row per example, y its label.
x, y = load_digits(return_X_y=True)
x = (x.reshape(-1, 8, 8, 1) / 16).astype("float32")
x, x_test, y, y_test = train_test_split(x, y, test_size=360, random_state=0)

# Your model.
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
    keras.optimizers.SGD(0.01, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)

# In place of fit(x, y, batch_size=8): a Pipeline, whose batch size a callback may change.
train = lbkeras.data.Pipeline((x, y), batch_size=8)
test = lbkeras.data.Pipeline((x_test, y_test), batch_size=360, shuffle=False)
history = model.fit(
    train,
    epochs=10,
    validation_data=test,
    verbose=0,
    callbacks=[
        lbkeras.callbacks.AdaptiveBatchSize(train),
        lbkeras.callbacks.TrainingStatistics(train),
    ],
).history

for epoch, size in enumerate(history["batch_size"]):
    accuracy = 100 * history["val_accuracy"][epoch]
    rate = history["learning_rate"][epoch]
    print(
        f"epoch {epoch + 1:2d}  batch {size:4.0f}  rate {rate:.4f}  test accuracy {accuracy:.2f} %"
    )
print(
    f"{history['updates'][-1]:.0f} updates; {10 * (len(x) // 8)} would have been made with batch 8"
)
