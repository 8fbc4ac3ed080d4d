"""Errors that spixgraph raises on purpose.

Each message names the value, the limit and the remedy. Whatever is not a `SpixError` is a bug.
"""


class SpixError(Exception):
    """Base class of all errors raised on purpose."""


class InputError(SpixError, ValueError):
    """The caller passed a bad argument."""


class StoredDataError(SpixError, ValueError):
    """A file does not match the layout that this version reads."""


class ResourceError(SpixError, RuntimeError):
    """The machine cannot do what was asked: memory, disk, a device, a server."""


class GateError(SpixError, RuntimeError):
    """A model does not meet what was asked of it: parity, accuracy, the memory contract."""
