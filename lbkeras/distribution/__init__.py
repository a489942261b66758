"""Where a model trains: `tf.distribute` strategies by name, and the fixes that Keras needs."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
