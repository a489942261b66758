"""Where a model trains: tf.distribute strategies by name, and what Keras needs for them."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
