"""The few exceptions a user can meet. Each message says what, where, and what to do next."""


class PhototraceError(Exception):
    """Something could not be done; the message is written for the user. Exit status 1."""

    exit_code = 1


class PhotoError(PhototraceError):
    """One photo cannot be read as evidence. The photo is named; the others go on."""


class DamagedError(PhototraceError):
    """A file that phototrace wrote is missing, changed or malformed."""


class UsageError(PhototraceError):
    """What was asked for cannot be meant: a wrong path, key, or value. Exit status 2."""

    exit_code = 2
