"""Trains on digits with AutoWU under one strategy and saves its decisions.

python auto_wu_workers_script.py STRATEGY RESULT
"""

import sys

import keras
import numpy as np

from lbkeras import data, distribution
from lbkeras.callbacks import AutoWU, BatchSizeScheduler
from lbkeras.planning import auto_wu_plan

strategy = distribution.strategy(sys.argv[1])
keras.utils.set_random_seed(0)
train = data.load("digits", "train", batch_size=64, seed=1)
plan = auto_wu_plan(
    epochs=8, batch_size=64, momentum=0.9, num_examples=train.num_examples, max_learning_rate=8.0
)
with strategy.scope():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0, momentum=0.9), loss)
auto_wu = AutoWU(train, plan)
scheduler = BatchSizeScheduler(train, lambda epoch, size: size)
model.fit(train, epochs=8, verbose=0, callbacks=[scheduler, auto_wu])
np.savez(
    sys.argv[2],
    losses=np.concatenate(auto_wu.losses),
    votes=[each["votes"] for each in auto_wu.decisions],
    minima=[each["minimum_learning_rate"] for each in auto_wu.decisions],
    state=auto_wu.state,
    stopped=[auto_wu.warmup_epochs, auto_wu.peak_learning_rate],
    kernel=model.layers[-1].kernel.numpy(),
)
