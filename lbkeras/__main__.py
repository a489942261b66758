"""`python -m lbkeras` is the command line."""

from lbkeras.cli.main import run

if __name__ == "__main__":
    run()
