"""Trains under one strategy with AdaScale and saves what it measured.

python gradient_noise_scale_script.py STRATEGY NUM_LOGICAL_DEVICES RESULT
"""

import sys

import numpy as np

from lbkeras.devices import configure_devices

configure_devices(num_logical_devices=int(sys.argv[2]))

import keras  # noqa: E402

from lbkeras import distribution  # noqa: E402
from lbkeras.callbacks import AdaScale, MicroBatches  # noqa: E402
from lbkeras.data import load  # noqa: E402

strategy = distribution.strategy(sys.argv[1])
train = load("digits", split="train", batch_size=96)
keras.utils.set_random_seed(1)
with strategy.scope():
    layers = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 16), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(8, "tanh"), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
result = {}
for name, others in (("replicas", []), ("both", [MicroBatches(train, 16)])):
    callbacks = [AdaScale(train, 24, 1, per_layer=True), *others]
    history = model.fit(train, epochs=3, verbose=0, callbacks=callbacks).history
    for key in ("loss", "adascale_gain", "adascale_progress", "gradient_noise_scale"):
        result[f"{name}: {key}"] = history[key]
    result[f"{name}: layers"] = list(callbacks[0].layers.values())
np.savez(sys.argv[-1], **result)
