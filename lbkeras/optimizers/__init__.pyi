from lbkeras.methods.decentralized.decentlam import DecentLaM as DecentLaM
from lbkeras.methods.decentralized.dmsgd import DmSGD as DmSGD
from lbkeras.methods.decentralized.elastic_averaging_sgd import (
    ElasticAveragingSGD as ElasticAveragingSGD,
)
from lbkeras.methods.decentralized.gossip_sgd import GossipSGD as GossipSGD
from lbkeras.optimizers.adamp import AdamP as AdamP
from lbkeras.optimizers.lamb import LAMB as LAMB
from lbkeras.optimizers.lars import LARS as LARS
from lbkeras.optimizers.rmsprop_warmup import RMSpropWarmup as RMSpropWarmup
from lbkeras.optimizers.sgdp import SGDP as SGDP
