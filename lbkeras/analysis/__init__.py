"""What a run shows: gradient noise scale, sharpness. No TensorFlow, no Keras."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
