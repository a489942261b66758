"""The error for what a user can mend: the command line prints it as one line, without traceback."""


class UserError(ValueError):
    """A setting, file or data set is not usable; the message is one line that names it,
    what was expected and what was received."""
