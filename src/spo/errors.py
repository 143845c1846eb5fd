"""Base classes of the errors of this project; each layer adds its own situations."""


class SpoError(Exception):
    """An error with a message for users: what is wrong and what to do."""


class TerminalError(SpoError):
    """Trying again does not help until the object or the node changes: the controller does not retry."""
