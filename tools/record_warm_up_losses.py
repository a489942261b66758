"""Records the loss of every update of complete exponential warm-ups, for AutoWU's test.

    python tools/record_warm_up_losses.py --data_dir=DIR      about 6 minutes on 2 cores
    python tools/record_warm_up_losses.py --data=digits       without MNIST

Trains small networks on digits and MNIST with several optimizers, batch sizes and lengths, while
the learning rate grows from 1e-5 to 1 without stopping. Writes an .npz file with the losses of each
run, float32 of shape (epochs, updates per epoch), under a name that describes the run.
tests/methods/auto_wu/judgement_test.py uses them to compare AutoWU's decisions with those of the
published rule.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from lbkeras import data, models, optimizers  # noqa: E402
from lbkeras.schedules import Curve, EpochLearningRateSchedule, Segment  # noqa: E402

OPTIMIZERS = {
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "adamp": lambda rate: optimizers.AdamP(rate, weight_decay=0.1),
    "lamb": lambda rate: optimizers.LAMB(rate, weight_decay=0.01),
}
# Data, network, batch sizes, epochs of warm-up, seeds.
RUNS = [
    ("digits", "mlp", (16, 64, 256), (10, 16, 24), (0, 1)),
    ("mnist", "mlp", (256, 1024, 4096), (10, 16), (0,)),
]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", help="folder of prepared TensorFlow Datasets data")
    parser.add_argument("--data", nargs="+", default=["digits", "mnist"])
    parser.add_argument(
        "--output", type=Path, default=ROOT / "tests/methods/auto_wu/warm_up_losses.npz"
    )
    arguments = parser.parse_args()
    recorded = {}
    for name, network, batches, lengths, seeds in RUNS:
        for optimizer in OPTIMIZERS if name in arguments.data else ():
            for batch_size in batches:
                for epochs in lengths:
                    for seed in seeds:
                        began = time.perf_counter()
                        losses = _losses(
                            name, network, optimizer, batch_size, epochs, seed, arguments.data_dir
                        )
                        key = f"{name}_{optimizer}_batch_{batch_size}_epochs_{epochs}_seed_{seed}"
                        recorded[key] = losses
                        seconds = time.perf_counter() - began
                        print(f"{key}: {losses.size} losses, {seconds:.1f} s", flush=True)
    np.savez_compressed(arguments.output, **recorded)


def _losses(name, network, optimizer, batch_size, epochs, seed, data_dir):
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    train = data.load(
        name, "train", batch_size=batch_size, training=True, data_dir=data_dir, seed=seed
    )
    model = getattr(models, network)(train.element_spec[0].shape[1:], 10, hidden_sizes=(64,))
    curve = Curve([Segment(0, epochs, 1e-5, 1.0, "exponential")])
    rate = EpochLearningRateSchedule(curve, [(0, 0, train.steps_per_epoch)])
    optimizer = OPTIMIZERS[optimizer](rate)
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    losses = [[step(x, y) for x, y in train.dataset(epoch)] for epoch in range(epochs)]
    return np.asarray(losses, np.float32).round(4)


if __name__ == "__main__":
    main()
