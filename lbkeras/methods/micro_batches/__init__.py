"""A batch in pieces that fit into memory, with one update."""
