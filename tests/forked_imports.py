"""Imports of the process that tests are forked from; see tests/forked.py."""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # a started GPU does not survive a fork

from lbkeras.keras_internals.tensorflow_start import load_tensorflow  # noqa: E402

load_tensorflow()

import sklearn.datasets  # noqa: E402, F401
import tensorboard.plugins.hparams.summary  # noqa: E402, F401

import lbkeras.runs.training  # noqa: E402, F401
