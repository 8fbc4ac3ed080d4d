"""Memory that was freed, and is kept by the C library."""

import ctypes


def give_back() -> None:
    """Hand memory that was freed back to the system; glibc keeps it for later otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
