"""Methods from the literature that need more than two files, each in a folder of its own."""
