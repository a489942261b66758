"""Plans: batch size, learning rate and momentum over the epochs, in plain arithmetic.

Only a call of `Plan.learning_rate_schedule` loads TensorFlow or Keras.
"""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
