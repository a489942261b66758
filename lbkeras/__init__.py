"""lbkeras: large-batch training for Keras.

Subpackages load when first touched, so `lbkeras.planning` works without importing TensorFlow. Where
Keras is imported already, the layers, optimizers and schedules load too, so that
`keras.models.load_model` knows them: `import keras, lbkeras`, in that order.

>>> import lbkeras
>>> plan = lbkeras.planning.noise_scale_plan(
...     strategy="increase_batch", epochs=200, boundaries=(60, 120, 160), factor=5,
...     learning_rate=0.1, momentum=0.9, batch_size=128, max_batch_size=5120, num_examples=50_000)
>>> plan.updates()
29040
"""

import importlib
import sys
from typing import TYPE_CHECKING

__version__ = "0.2.0.dev0"

_SUBPACKAGES = (
    "analysis",
    "callbacks",
    "data",
    "distribution",
    "layers",
    "models",
    "optimizers",
    "planning",
    "replication",
    "schedules",
    "trainers",
)
_MODULES = ("config", "devices", "errors")

if TYPE_CHECKING:
    from lbkeras import analysis as analysis
    from lbkeras import callbacks as callbacks
    from lbkeras import config as config
    from lbkeras import data as data
    from lbkeras import devices as devices
    from lbkeras import distribution as distribution
    from lbkeras import errors as errors
    from lbkeras import layers as layers
    from lbkeras import models as models
    from lbkeras import optimizers as optimizers
    from lbkeras import planning as planning
    from lbkeras import replication as replication
    from lbkeras import schedules as schedules
    from lbkeras import trainers as trainers


def __getattr__(name: str):
    if name in (*_SUBPACKAGES, *_MODULES):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBPACKAGES, *_MODULES])


if "keras" in sys.modules:
    from lbkeras.runs import keras_objects as keras_objects
