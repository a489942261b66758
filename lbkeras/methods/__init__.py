"""Each method of the literature that has more than two files: a folder with all that it has."""
