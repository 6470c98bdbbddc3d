"""The one exception that the command line turns into a single line and exit code 2."""


class UserError(Exception):
    """Something the user can mend: the message names the file, key or line, the value, and what to do.

    Every room may raise it; `transformer.cli` prints it without a traceback and leaves with exit code 2.
    """
