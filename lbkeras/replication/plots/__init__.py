"""What draws the pictures of a replication, from histories and plans."""
