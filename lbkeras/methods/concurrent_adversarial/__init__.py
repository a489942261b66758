"""Concurrent adversarial learning: training on copies that are made with the weights before."""
