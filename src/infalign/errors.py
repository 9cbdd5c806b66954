"""The one error a user can cause."""


class InputError(ValueError):
    """Input that cannot be used.

    The message names what is wrong, where, what is allowed and what to do; the command line prints it
    alone, without a traceback, and exits with code 2.
    """
