"""Trains on digits with an AutoWU that, at the end of epoch 5, restores the end of epoch 3.

python restore_workers_script.py STRATEGY RESULT
"""

import sys

import keras
import numpy as np

from lbkeras import data, distribution
from lbkeras.callbacks import AutoWU, BatchSizeScheduler
from lbkeras.methods.auto_wu import callback
from lbkeras.methods.auto_wu.judgement import Judgement
from lbkeras.planning import auto_wu_plan


def judge(epochs, state=None, seed=0):
    done, mean = len(epochs), np.zeros(500)
    return Judgement(5 * (done >= 3), (min(3 / done, 1.0),) * 5, mean, mean + 0.1, [1.0])


class States(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        every = [*self.model.variables, *self.model.optimizer.variables]
        floats = [each for each in every if keras.backend.is_float_dtype(each.dtype)]
        for number, variable in enumerate(floats):
            result[f"after {epoch + 1}: {number}"] = np.array(variable)


callback.judge, result = judge, {}
strategy = distribution.strategy(sys.argv[1])
keras.utils.set_random_seed(0)
train = data.load("digits", "train", batch_size=256, seed=1)
plan = auto_wu_plan(epochs=12, batch_size=256, momentum=0.9, num_examples=train.num_examples)
with strategy.scope():
    layers = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 16), keras.layers.Flatten()]
    layers += [keras.layers.BatchNormalization(), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0, momentum=0.9), loss)
auto_wu = AutoWU(train, plan)
scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
model.fit(train, epochs=6, verbose=0, callbacks=[scheduler, auto_wu, States()])
np.savez(sys.argv[2], restored=auto_wu.restored_epoch, **result)
