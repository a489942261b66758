"""Batch-norm statistics: of ghosts, of the last batch, recomputed, or averaged over replicas."""
