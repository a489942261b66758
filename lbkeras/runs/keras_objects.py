"""Imports every lbkeras class that a saved model can hold, so that Keras finds it by name."""

import importlib

import keras

_MODULES = [
    "layers.hadamard_classifier",
    "layers.orthonormal_classifier",
    "layers.shake_drop",
    "losses.label_smoothing_crossentropy",
    "methods.batch_statistics.ghost_batch_normalization",
    "methods.decentralized.decentlam",
    "methods.decentralized.dmsgd",
    "methods.decentralized.elastic_averaging_sgd",
    "methods.decentralized.gossip_sgd",
    "optimizers.adamp",
    "optimizers.lamb",
    "optimizers.lars",
    "optimizers.rmsprop_warmup",
    "optimizers.sgdp",
    "schedules.epoch_learning_rate",
    "schedules.steered_learning_rate",
]
if keras.backend.backend() == "tensorflow":
    _MODULES += ["methods.ada_scale.learning_rate", "methods.decentralized.stacked_nodes"]
for module in _MODULES:
    importlib.import_module(f"lbkeras.{module}")
