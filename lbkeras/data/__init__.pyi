from lbkeras.data.load import describe as describe
from lbkeras.data.load import load as load
from lbkeras.data.pipeline import Pipeline as Pipeline
from lbkeras.methods.decentralized.node_shards import shard_by_label as shard_by_label
