"""What replaces a train step or works inside it: micro-batches, nodes, gradient statistics."""

from lbkeras.lazy import load_names_when_touched

load_names_when_touched(__name__)
