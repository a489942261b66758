"""Text: a small transformer that predicts the next character, trained with warm-up and LAMB.

The text is Python's own help, which comes with every Python.

    python examples/text_transformer.py
"""

import math
import pydoc_data.topics

import keras
import numpy as np

import lbkeras

keras.utils.set_random_seed(0)

LENGTH = 64
text = "".join(pydoc_data.topics.topics.values())[:80_000].encode("ascii", "ignore")
symbols, codes = np.unique(np.frombuffer(text, np.uint8), return_inverse=True)
rows = codes[: len(codes) // (LENGTH + 1) * (LENGTH + 1)].reshape(-1, LENGTH + 1).astype("int32")
held_out = len(rows) // 10
x, y = rows[:, :-1], rows[:, 1:]
train = lbkeras.data.Pipeline((x[held_out:], y[held_out:]), batch_size=16)
test = lbkeras.data.Pipeline((x[:held_out], y[:held_out]), batch_size=64, shuffle=False)


class Positions(keras.layers.Layer):
    """Adds a learned vector for each position."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="random_normal", name="table")

    def call(self, values):
        return values + self.table


def transformer(width=64, heads=4):
    tokens = keras.Input((LENGTH,), dtype="int32")
    values = Positions()(keras.layers.Embedding(len(symbols), width)(tokens))
    for _ in range(2):
        normed = keras.layers.LayerNormalization()(values)
        attention = keras.layers.MultiHeadAttention(heads, width // heads)
        values += attention(normed, normed, use_causal_mask=True)
        hidden = keras.layers.Dense(4 * width, activation="gelu")(
            keras.layers.LayerNormalization()(values)
        )
        values += keras.layers.Dense(width)(hidden)
    return keras.Model(tokens, keras.layers.Dense(len(symbols))(values))


# Carries settings that are good at batch size 16 to 64: LEGW multiplies the learning rate by the
# square root of the batch ratio, and the warm-up epochs by the ratio.
plan = lbkeras.planning.legw_plan(
    epochs=8,
    base_batch_size=16,
    batch_size=64,
    base_learning_rate=0.01,
    base_warmup_epochs=0.25,
    momentum=0.0,
    decay="polynomial",
    num_examples=train.num_examples,
)
model = transformer()
model.compile(
    lbkeras.optimizers.LAMB(plan.learning_rate_schedule()),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
history = model.fit(
    train,
    epochs=plan.epochs,
    validation_data=test,
    verbose=2,
    callbacks=[lbkeras.callbacks.BatchSizeScheduler(train, plan)],
).history
bits = [loss / math.log(2) for loss in history["val_loss"]]
print(
    f"held-out text: {bits[0]:.2f} to {bits[-1]:.2f} bits per character in {plan.updates()} updates"
)
