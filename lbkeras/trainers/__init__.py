"""Train steps: a batch in micro-batches, nodes that average with neighbours."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
