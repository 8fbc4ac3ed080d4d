import pytest

from spixgraph.train.schedule import (
    END,
    START,
    WARM_UP,
    end_by_patience,
    end_by_time,
    learning_rate,
)


def test_rate_rises_then_falls() -> None:
    assert learning_rate(0.0, 2.0) == pytest.approx(2 * START)
    assert learning_rate(WARM_UP, 2.0) == pytest.approx(2.0)
    assert learning_rate(1.0, 2.0) == pytest.approx(2 * END)
    down = [learning_rate(WARM_UP + i / 100, 1.0) for i in range(85)]
    assert down == sorted(down, reverse=True)


@pytest.mark.parametrize(
    ("epoch", "best_epoch", "end", "wanted"),
    [(10, 1, 100, 100), (11, 1, 100, 16), (12, 1, 16, 16), (16, 14, 16, 16), (99, 1, 100, 100)],
)
def test_patience_brings_the_end_closer_once(
    epoch: int, best_epoch: int, end: int, wanted: int
) -> None:
    assert end_by_patience(epoch, best_epoch=best_epoch, patience=10, end=end) == wanted


@pytest.mark.parametrize(
    ("seconds", "budget", "wanted"),
    [(50.0, None, 100), (50.0, 1e6, 100), (50.0, 100.0, 20), (50.0, 54.0, 10), (50.0, 40.0, 10)],
)
def test_budget_ends_the_run_at_the_pace_so_far(
    seconds: float, budget: float | None, wanted: int
) -> None:
    assert end_by_time(10, seconds=seconds, budget=budget, end=100) == wanted
