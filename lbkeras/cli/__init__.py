"""The command line: `lbkeras COMMAND`."""
