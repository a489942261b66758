"""Data, a model and a training run for tests on Keras' TensorFlow and JAX backends."""

import keras
import numpy as np

from lbkeras.callbacks import BatchSizeScheduler
from lbkeras.data import Pipeline
from lbkeras.data.augmentation import random_crop_flip
from lbkeras.layers import GhostBatchNormalization
from lbkeras.optimizers import LARS
from lbkeras.planning import Phase, Plan


def images(number: int):
    """Returns images and labels, the same each time."""
    rng = np.random.default_rng(number)
    x = rng.integers(0, 256, (number, 8, 8, 3), dtype=np.uint8)
    return x, rng.integers(0, 10, number)


def pipelines() -> dict[str, Pipeline]:
    """Pipelines of each form of data in memory."""
    x, y = images(50)
    weights = np.linspace(0, 1, 50)
    of_nodes = Pipeline((x, y), 6, seed=2)
    of_nodes.set_node_shards(np.arange(48).reshape(2, 24)[:, ::-1])
    return {
        "shuffled": Pipeline((x, y), 8, seed=3),
        "augmented": Pipeline((x, y), 16, seed=4, augment=random_crop_flip(2)),
        "evaluated": Pipeline((x, y), 16, shuffle=False, augment=random_crop_flip(1)),
        "weighted": Pipeline(({"a": x, "b": weights}, y, weights), 7, seed=2**40 + 1),
        "x alone": Pipeline(weights, 9, shuffle=False),
        "nodes": of_nodes,
    }


def batches_of(made: dict[str, Pipeline]) -> dict[str, np.ndarray]:
    """Each part of each batch of two epochs, the second from its second step on."""
    parts = {}
    for name, pipeline in made.items():
        for epoch, start in ((0, 0), (7, 1)):
            for step, batch in enumerate(pipeline.dataset(epoch, start).as_numpy_iterator()):
                for number, part in enumerate(keras.tree.flatten(batch)):
                    parts[f"{name} {epoch} {step} {number}"] = part
    return parts


def model_of(ghosts: int = 0) -> keras.Model:
    """A small convolutional network with batch norm, or ghost batch norm."""
    layers = keras.layers
    norm = GhostBatchNormalization(ghosts) if ghosts else layers.BatchNormalization()
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            norm,
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def train_20(optimizer: str, initial) -> list[np.ndarray]:
    """Returns the weights after 20 updates, with augmentation and a growing batch size.

    Args:
        optimizer: "SGD" or "LARS".
        initial: file of the initial weights; written if it is missing.
    """
    x, y = images(64)
    plan = Plan([Phase(0, 2, 8, 0.05, 0.9), Phase(2, 1, 16, 0.1, 0.9)], 64)
    model = model_of()
    if not initial.exists():
        np.savez(initial, *model.get_weights())
    saved = np.load(initial)
    model.set_weights([saved[f"arr_{number}"] for number in range(len(saved.files))])
    rate = plan.learning_rate_schedule()
    chosen = LARS(rate, 0.9, trust_coefficient=0.02) if optimizer == "LARS" else (
        keras.optimizers.SGD(rate, 0.9)
    )  # fmt: skip
    model.compile(chosen, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    train = Pipeline((x, y), 8, seed=1, augment=random_crop_flip(1))
    model.fit(train, epochs=3, verbose=0, callbacks=[BatchSizeScheduler(train, plan)])
    assert int(model.optimizer.iterations) == 20
    return model.get_weights()
