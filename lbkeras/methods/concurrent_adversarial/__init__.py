"""Concurrent adversarial learning: also trains on adversarial copies from the previous weights."""
