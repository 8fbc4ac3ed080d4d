"""Who may come in, how many wait, and when to come again."""

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from starlette.exceptions import HTTPException

_FIRST_GUESS_S = 2.0
_NEWEST = 0.2


class Admission:
    """Places for requests that upload, wait or run, and one slot for the work.

    Parameters
    ----------
    places : int
        Requests at a time; the next one gets 429.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._slot = anyio.Semaphore(1)
        self._mean_s = _FIRST_GUESS_S
        self.inside = 0
        self.running = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Take a place, before the body is read; raises 429 with Retry-After if there is none."""
        if self.inside >= self._places:
            wait = min(600, math.ceil(self._mean_s * self.inside))
            raise HTTPException(
                429,
                f"{self.inside} requests are being worked on, {self._places} is the limit; "
                f"ask again in {wait} s",
                headers={"Retry-After": str(wait)},
            )
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for the one slot, and learn from how long it is held."""
        async with self._slot:
            self.running += 1
            start = time.monotonic()
            try:
                yield
            finally:
                self.running -= 1
                self._mean_s += _NEWEST * (time.monotonic() - start - self._mean_s)
