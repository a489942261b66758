"""Batches computed in micro-batches that fit into memory, with one update per batch."""
