import pytest

from spixgraph.config.params import CnnTraining
from spixgraph.train.ending import ending_of
from spixgraph.train.loop import EpochRecord


def history(*scores: float) -> list[EpochRecord]:
    return [EpochRecord(n, 0.0, s, (), 0.0, float(n)) for n, s in enumerate(scores, start=1)]


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ((0.5, 0.4, 0.4, 0.4), "patience"),  # best at 1, patience 2 at 3, one epoch to cool down
        ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), "epochs"),
        ((0.1, 0.2, 0.3), "minutes"),
    ],
)
def test_the_ending_is_read_from_the_curve(scores: tuple[float, ...], wanted: str) -> None:
    assert ending_of(history(*scores), CnnTraining(epochs=6, patience=2)) == wanted
