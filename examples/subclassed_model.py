"""A subclassed model and a loss of your own, with your own rule for the batch size.

python examples/subclassed_model.py
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import lbkeras

keras.utils.set_random_seed(0)

images = load_digits().data.astype("float32") / 16
train = lbkeras.data.Pipeline((images[:1437], images[:1437]), batch_size=16)
test = lbkeras.data.Pipeline((images[1437:], images[1437:]), batch_size=360, shuffle=False)


class Autoencoder(keras.Model):
    """Compresses 64 pixels to 8 numbers and back; adds the numbers' mean square to the loss."""

    def __init__(self):
        super().__init__()
        self.encoder = keras.layers.Dense(8)
        self.hidden = keras.layers.Dense(64, activation="relu")
        self.decoder = keras.layers.Dense(64, activation="sigmoid")

    def call(self, pixels):
        code = self.encoder(pixels)
        self.add_loss(1e-4 * keras.ops.mean(keras.ops.square(code)))
        return self.decoder(self.hidden(code))


def squared_error(expected, received):
    """Returns one number per example, so that replicas and micro-batches can add them up."""
    return keras.ops.mean(keras.ops.square(expected - received), axis=-1)


def double_every_five_epochs(epoch, batch_size):
    """Your own rule: returns an epoch's batch size from its number and the current batch size."""
    return 2 * batch_size if epoch and epoch % 5 == 0 else batch_size


model = Autoencoder()
model.compile(keras.optimizers.Adam(3e-3), squared_error, metrics=["mae"])
history = model.fit(
    train,
    epochs=20,
    validation_data=test,
    verbose=0,
    callbacks=[
        lbkeras.callbacks.BatchSizeScheduler(train, double_every_five_epochs, verbose=1),
        lbkeras.callbacks.TrainingStatistics(train),
    ],
).history
print("batch sizes:", [int(size) for size in history["batch_size"]])
print(f"mean error of a test pixel: {history['val_mae'][0]:.3f} to {history['val_mae'][-1]:.3f}")
print(f"{history['updates'][-1]:.0f} updates in {np.sum(history['seconds']):.1f} s of training")
