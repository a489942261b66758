"""Fits a model of one layer, on one device or on replicas."""

import keras
import numpy as np


def arrays(count):
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, 6)).astype("f"), generator.normal(size=(count, 2))


def make(optimizer=None, steps_per_execution=1):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, activation="tanh")])
    model.compile(
        optimizer or keras.optimizers.SGD(0.1, momentum=0.9),
        "mse",
        metrics=["mae"],
        steps_per_execution=steps_per_execution,
    )
    return model


def fitted(model, **arguments):
    """Returns weights, logs, number of updates and of calls after 5 steps.

    Wrong slots of the optimizer would show in the weights.
    """
    calls = []
    count_calls = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: calls.append(batch)
    )
    options = dict(batch_size=8, shuffle=False, verbose=0, callbacks=[count_calls]) | arguments
    history = model.fit(*arrays(40), **options).history
    weights = np.concatenate([w.ravel() for w in model.get_weights()])
    return weights, history, int(model.optimizer.iterations.numpy()), len(calls)
