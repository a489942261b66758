"""Methods from the literature that need more than two files, one folder per method."""
