"""Name and time the steps of a prediction."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Steps:
    """Seconds per step, and a word to whoever shows progress.

    Parameters
    ----------
    on_start : callable, optional
        Called with the name of each step as it starts.

    Examples
    --------
    >>> steps = Steps()
    >>> with steps("network"):
    ...     pass
    >>> list(steps.seconds)
    ['network']
    """

    def __init__(self, on_start: Callable[[str], object] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._on_start = on_start

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one step; a step that comes again adds up."""
        if self._on_start is not None:
            self._on_start(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
