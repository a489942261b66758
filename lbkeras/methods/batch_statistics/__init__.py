"""Batch-norm statistics: of ghosts, of the last batch, recomputed, averaged over replicas."""
