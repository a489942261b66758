"""Functions that draw the pictures of a replication from histories and plans."""
