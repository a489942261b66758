"""Nodes that average with neighbors instead of all nodes (Yuan 2021, Jin 2016, Zhang 2015)."""
