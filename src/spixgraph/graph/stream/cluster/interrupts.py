"""Ctrl-C while Dask works."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts_noted() -> Iterator[Callable[[], None]]:
    """Note the first Ctrl-C, to raise it where it cannot be lost; a second one is raised at once.

    Dask has callbacks of weak references run at any moment, and Python prints and drops what is
    raised in one, KeyboardInterrupt too. As in `asyncio.Runner`, nothing is changed outside of the
    main thread, or where the caller has a handler of its own.

    Yields
    ------
    callable
        Raises the KeyboardInterrupt that was noted; to be called often. The end of the block does
        so, too.
    """
    noted = threading.Event()

    def note(number: int, frame: Any) -> None:
        if noted.is_set():
            raise KeyboardInterrupt
        noted.set()

    def raise_noted() -> None:
        if noted.is_set():
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield raise_noted
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield raise_noted
        raise_noted()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
