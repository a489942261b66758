"""Plans: batch size, learning rate and momentum over the epochs, in plain arithmetic.

Nothing here loads TensorFlow or Keras, except `Plan.learning_rate_schedule` when it is called.
"""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
