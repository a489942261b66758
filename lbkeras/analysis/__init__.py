"""Analysis of training runs: gradient noise scale and sharpness, without TensorFlow and Keras."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
