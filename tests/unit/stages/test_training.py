"""What a training has cost."""

from spixgraph.stages.training import with_earlier_epochs
from spixgraph.train.loop import EpochRecord


def test_a_resumed_training_costs_the_seconds_of_all_epochs():
    history = [EpochRecord(e, 1.0, 0.5, (0.5,), 1e-3, 10.0 * e) for e in (1, 2, 3)]
    cost = {"seconds": 10.2, "cpu_seconds": 9.9, "peak_rss_bytes": 7}
    corrected = with_earlier_epochs(cost, history)
    assert corrected == {"seconds": 30.0, "cpu_seconds": None, "peak_rss_bytes": 7}
    assert with_earlier_epochs(cost, history, history[:2])["seconds"] == 50.0
    assert with_earlier_epochs(cost, history, [])["seconds"] == 30.0
