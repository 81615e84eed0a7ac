"""Errors of the embedded services. Every message names a way out."""


class EmbeddedError(Exception):
    """Base of all errors of the embedded services; the message is fit to show to the user."""


class HomeLockedError(EmbeddedError):
    """Another supervisor runs in this state folder."""


class HomeOwnerError(EmbeddedError):
    """The state folder belongs to another user."""


class MissingBinariesError(EmbeddedError):
    """No embedded binaries are installed for this platform."""


class UserNamespaceError(EmbeddedError):
    """Running as root, and the system forbids the user namespace that Postgres needs."""


class WrongVersionError(EmbeddedError):
    """The data folder was written by another major version of Postgres."""


class ServiceStartError(EmbeddedError):
    """A service didn't come up; the message ends with the last lines of its log."""


class DiskFullError(EmbeddedError):
    """There is no space left for the state folder."""


class StopTimeoutError(EmbeddedError):
    """The supervisor didn't stop in time."""
