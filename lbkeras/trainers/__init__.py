"""Changes to the train step: micro-batches, decentralized nodes, gradient statistics."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
