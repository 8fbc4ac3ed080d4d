from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from spixgraph.threads import ahead


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers):
    with ThreadPoolExecutor(workers) as pool:
        assert list(ahead(pool, lambda i: i * i, iter(range(20)))) == [i * i for i in range(20)]
        assert list(ahead(pool, abs, [])) == []


def test_no_more_items_are_asked_for_than_threads_can_take():
    asked = []

    def items():
        for i in range(9):
            asked.append(i)
            yield i

    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, lambda i: i, items())
        assert asked == []
        assert [next(results), next(results)] == [0, 1]
        assert len(asked) == 4  # two are under way


def test_threads_work_while_a_result_is_used():
    started = Event()
    with ThreadPoolExecutor(1) as pool:
        results = ahead(pool, lambda i: started.set() if i else None, range(2))
        next(results)
        assert started.wait(10)
        list(results)


def test_an_error_of_the_function_comes_out():
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        list(ahead(pool, lambda i: 1 // i, [1, 0, 1]))
