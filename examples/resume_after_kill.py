"""A killed run resumes and ends with the same weights, bit for bit.

Three processes: one runs undisturbed, one is killed at the end of its third epoch, before that
epoch is saved, and one resumes the killed run.

    python examples/resume_after_kill.py
"""

import os
import signal
import subprocess
import sys
import tempfile

import keras
import numpy as np

import lbkeras


class Kill(keras.callbacks.Callback):
    """Kills the process like a power cut: nothing can be saved afterwards."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)


def train(folder, killed):
    keras.utils.set_random_seed(0)
    data = lbkeras.data.load("digits", split="train", batch_size=16)
    model = lbkeras.models.small_cnn(input_shape=(8, 8, 1), num_classes=10)
    model.compile(
        keras.optimizers.SGD(0.02, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    callbacks = [lbkeras.callbacks.AdaptiveBatchSize(data)]
    if killed:
        callbacks.append(Kill())
    # Last in the list, as it saves the other callbacks' state at the end of each epoch.
    checkpoint = lbkeras.callbacks.Checkpoint(f"{folder}/checkpoints", data, callbacks)
    first_epoch = checkpoint.restore(model)
    print(f"starts at epoch {first_epoch + 1}, {int(model.optimizer.iterations)} updates done")
    model.fit(
        data,
        epochs=6,
        initial_epoch=first_epoch,
        verbose=0,
        callbacks=[*callbacks, checkpoint],
    )
    np.savez(f"{folder}/weights.npz", *model.get_weights())
    print(f"ends after {int(model.optimizer.iterations)} updates at batch {data.batch_size}")


def run(folder, *arguments):
    """Runs this script in its own process."""
    done = subprocess.run([sys.executable, __file__, folder, *arguments])
    if done.returncode == -signal.SIGKILL:
        print("(killed)")


def main():
    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as killed:
        print("undisturbed:")
        run(alone)
        print("killed at the end of its third epoch:")
        run(killed, "--killed")
        print("the same command again:")
        run(killed)
        ours, theirs = np.load(f"{alone}/weights.npz"), np.load(f"{killed}/weights.npz")
        same = all(np.array_equal(ours[name], theirs[name]) for name in ours.files)
    print("the weights are", "the same, bit for bit" if same else "NOT the same")
    sys.exit(not same)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    train(sys.argv[1], killed="--killed" in sys.argv)
