"""Concurrent adversarial learning of a small network in plain tensors, without Keras."""

import numpy as np
import tensorflow as tf

EPSILON, RATE, MOMENTUM, MOVING, TINY = 0.3, 0.3, 0.9, 0.8, 1e-3


def forward(weights, x):
    """Returns the logits of Dense, batch norm, tanh and Dense, and the batch's statistics."""
    kernel, gamma, beta, last, bias = weights
    z = x @ kernel
    mean = tf.reduce_mean(z, 0)
    variance = tf.reduce_mean((z - mean) ** 2, 0)
    z = gamma * (z - mean) / tf.sqrt(variance + TINY) + beta
    return tf.tanh(z) @ last + bias, (mean, variance)


def loss_of(logits, y):
    chosen = tf.gather(tf.nn.log_softmax(logits), y, axis=1, batch_dims=1)
    return -tf.reduce_mean(chosen)


def copies_of(weights, x, y):
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = loss_of(forward(weights, x)[0], y)
    return x + EPSILON * np.sign(tape.gradient(loss, x).numpy())


def train(weights, batches, age: int):
    """Runs momentum SGD on the mean of both losses; copies use the weights from `age` steps before.

    Returns:
        The weights after each step; the final moving statistics `(mean, variance)` of the clean
        examples and of the copies; the losses of all steps.
    """
    weights = [np.asarray(w, "float32") for w in weights]
    steps, velocity, losses = [weights], [np.zeros_like(w) for w in weights], []
    moving = [[np.zeros(len(weights[1])), np.ones(len(weights[1]))] for _ in range(2)]
    for x, y in batches:
        x = tf.constant(x)
        copies = copies_of(steps[max(len(steps) - 1 - age, 0)], x, y)
        variables = [tf.constant(w) for w in weights]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            clean, of_clean = forward(variables, x)
            adversarial, of_copies = forward(variables, copies)
            loss = 0.5 * loss_of(clean, y) + 0.5 * loss_of(adversarial, y)
        gradients = tape.gradient(loss, variables)
        velocity = [
            MOMENTUM * v - RATE * g.numpy() for v, g in zip(velocity, gradients, strict=True)
        ]
        weights = [w + v for w, v in zip(weights, velocity, strict=True)]
        steps.append(weights)
        losses.append(float(loss))
        for statistics, new in zip(moving, (of_clean, of_copies), strict=True):
            for i in range(2):
                statistics[i] = MOVING * statistics[i] + (1 - MOVING) * new[i].numpy()
    return steps[1:], moving, losses
