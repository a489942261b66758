"""Optimizers of the large-batch literature, as ordinary Keras optimizers."""

from lbkeras.optimizers.adamp import AdamP
from lbkeras.optimizers.decentlam import DecentLaM
from lbkeras.optimizers.dmsgd import DmSGD
from lbkeras.optimizers.elastic_averaging_sgd import ElasticAveragingSGD
from lbkeras.optimizers.gossip_sgd import GossipSGD
from lbkeras.optimizers.lamb import LAMB
from lbkeras.optimizers.lars import LARS
from lbkeras.optimizers.rmsprop_warmup import RMSpropWarmup
from lbkeras.optimizers.sgdp import SGDP

__all__ = [
    "LAMB",
    "LARS",
    "SGDP",
    "AdamP",
    "DecentLaM",
    "DmSGD",
    "ElasticAveragingSGD",
    "GossipSGD",
    "RMSpropWarmup",
]
