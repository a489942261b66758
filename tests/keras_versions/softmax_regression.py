"""Softmax regression on digits: in Keras, and SGD with momentum on it in NumPy."""

import keras
import numpy as np


class RecordSizes(keras.layers.Layer):
    """Keeps the sizes of the batches that it is trained on, in the order of the updates."""

    def build(self, shape):
        self.sizes = self.add_weight((64,), initializer="zeros", trainable=False)
        self.step = self.add_weight((), initializer="zeros", trainable=False, dtype="int32")

    def call(self, x, training=False):
        if training:
            size = keras.ops.cast(keras.ops.shape(x)[0], "float32")
            place = keras.ops.cast(keras.ops.equal(keras.ops.arange(64), self.step), "float32")
            self.sizes.assign(self.sizes + size * place)
            self.step.assign(self.step + 1)
        return x


def softmax_regression(optimizer, **compile_arguments):
    layers = [
        keras.Input((8, 8, 1)),
        RecordSizes(),
        keras.layers.Rescaling(1 / 16),
        keras.layers.Flatten(),
        keras.layers.Dense(10, kernel_initializer="zeros"),
    ]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], **compile_arguments)
    return model


def by_numpy(train, sizes, momenta, rates):
    """Weights and bias after `len(rates)` updates of SGD, and the losses of each epoch."""
    weights, bias = np.zeros((64, 10)), np.zeros(10)
    velocities = np.zeros((64, 10)), np.zeros(10)
    losses, rates = [], iter(rates)
    for epoch, (size, momentum) in enumerate(zip(sizes, momenta, strict=True)):
        train.batch_size = size
        losses.append([])
        for x, y in train.dataset(epoch).as_numpy_iterator():
            p, x = probabilities(x, weights, bias)
            losses[-1].append(-np.mean(np.log(p[np.arange(size), y])))
            error = (p - np.eye(10)[y]) / size
            rate = next(rates)
            for v, g in zip(velocities, (x.T @ error, error.sum(0)), strict=True):
                v *= momentum
                v -= rate * g
            weights += velocities[0]
            bias += velocities[1]
    return (weights, bias), losses


def probabilities(x, weights, bias):
    x = x.reshape(len(x), 64) / 16
    p = np.exp(x @ weights + bias)
    return p / p.sum(1, keepdims=True), x
