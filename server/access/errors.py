"""Errors of settings about access that only show when the server starts."""


class UnusableAccess(Exception):
    """The server must not start like this. The text names the setting, what is wrong and what is expected."""
