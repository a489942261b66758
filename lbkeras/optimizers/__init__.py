"""Optimizers of the large-batch literature, as ordinary Keras optimizers."""

from lbkeras.optimizers.adamp import AdamP
from lbkeras.optimizers.lamb import LAMB
from lbkeras.optimizers.lars import LARS
from lbkeras.optimizers.rmsprop_warmup import RMSpropWarmup
from lbkeras.optimizers.sgdp import SGDP

__all__ = ["LAMB", "LARS", "SGDP", "AdamP", "RMSpropWarmup"]
