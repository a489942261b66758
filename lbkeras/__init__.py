"""lbkeras: large-batch training for Keras.

Subpackages are imported on first use, so `lbkeras.planning` works without importing TensorFlow. If
Keras is already imported, the layers, optimizers and schedules are imported too, so that
`keras.models.load_model` knows them: `import keras, lbkeras`, in that order.

>>> import lbkeras
>>> plan = lbkeras.planning.noise_scale_plan(
...     strategy="increase_batch", epochs=200, boundaries=(60, 120, 160), factor=5,
...     learning_rate=0.1, momentum=0.9, batch_size=128, max_batch_size=5120, num_examples=50_000)
>>> plan.updates()
29040
"""

import sys

from lbkeras.lazy import load_names_when_touched

__version__ = "0.2.0.dev0"

load_names_when_touched(__name__)

if "keras" in sys.modules:
    from lbkeras.runs import keras_objects as keras_objects
