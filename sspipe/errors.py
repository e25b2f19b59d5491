"""The one exception that means "the user can mend this"."""

from __future__ import annotations


class UserError(Exception):
    """Bad input or configuration: the message names the file or key, what was expected, and the remedy.

    The command line prints the message alone, without a traceback, and exits with status 1.
    """
