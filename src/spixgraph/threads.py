"""Work in threads, taken in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Yield the results of a function in order; the threads work on what comes next meanwhile.

    There are no more items under way than threads, so results that wait take bounded memory.

    Parameters
    ----------
    pool : ThreadPoolExecutor
    function : callable
    items : iterable
        Asked for the next item in the thread of the caller.
    """
    waiting: deque[Future[Result]] = deque()
    for item in items:
        if len(waiting) == pool._max_workers:
            done = waiting.popleft().result()
            waiting.append(pool.submit(function, item))
            yield done
        else:
            waiting.append(pool.submit(function, item))
    while waiting:
        yield waiting.popleft().result()
