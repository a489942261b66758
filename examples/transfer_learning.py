"""Transfer learning with keras.applications, a large batch, and ghost batch norm.

A pretrained network's batch norm was trained with a small batch. In a large batch, each ghost batch
of 32 examples is normalized by itself, as if the batch were still small. Replacing batch norm by
ghost batch norm changes no weights and no predictions.

    python examples/transfer_learning.py
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import lbkeras

keras.utils.set_random_seed(0)

digits = load_digits()
images = keras.ops.image.resize(digits.images[..., None] * 255 / 16, (32, 32))
images = np.repeat(np.array(images), 3, axis=-1)
labels = digits.target
known = labels < 5  # digits 0 to 4 take the place of ImageNet, 5 to 9 that of your own data


def classifier(backbone):
    pixels = keras.Input((32, 32, 3))
    features = backbone(keras.applications.mobilenet.preprocess_input(pixels))
    model = keras.Model(pixels, keras.layers.Dense(5)(features))
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


# weights="imagenet" downloads pretrained weights. weights=None needs no internet: the backbone is
# trained on digits 0 to 4 instead. Its first eleven convolutions suffice for images this small.
network = keras.applications.MobileNet((32, 32, 3), alpha=0.25, include_top=False, weights=None)
features = network.get_layer("conv_pw_5_relu").output
backbone = keras.Model(network.input, keras.layers.GlobalAveragePooling2D()(features))
train = lbkeras.data.Pipeline((images[known], labels[known]), batch_size=32)
first = classifier(backbone).fit(train, epochs=6, verbose=0).history
print(f"digits 0 to 4, batch 32: training accuracy {100 * first['accuracy'][-1]:.1f} %")

# Your own data, a batch of 128 in ghost batches of 32. Evaluation uses the last batch's statistics
# instead of moving averages.
x, y = images[~known], labels[~known] - 5
train = lbkeras.data.Pipeline((x[:700], y[:700]), batch_size=128)
test = lbkeras.data.Pipeline((x[700:], y[700:]), batch_size=len(x) - 700, shuffle=False)
ghosts = lbkeras.layers.with_ghost_batch_normalization(backbone, ghost_batch_size=32)
model = classifier(ghosts)
before = model.evaluate(test, verbose=0, return_dict=True)["accuracy"]
history = model.fit(
    train,
    epochs=10,
    validation_data=test,
    verbose=0,
    callbacks=[lbkeras.callbacks.LastBatchStatistics()],
).history
print(f"digits 5 to 9, batch 128, ghost batches of 32: test accuracy {100 * before:.1f} % before")
print(f"and {100 * history['val_accuracy'][-1]:.1f} % after 10 epochs, 50 updates")
