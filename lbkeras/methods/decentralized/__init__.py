"""Nodes that average with neighbours instead of all (Yuan 2021, Jin 2016, Zhang 2015)."""
