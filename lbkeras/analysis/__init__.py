"""What a run shows: gradient noise scale, sharpness, AutoWU's test. No TensorFlow, no Keras.

Before training there is `lbkeras.planning`, which needs no NumPy either.
"""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
