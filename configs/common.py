"""Where configs that were written with lbkeras 0.1.0 import from; now `lbkeras.config`."""

from lbkeras.config import choose, experiment, in_order

__all__ = ["choose", "experiment", "in_order"]
