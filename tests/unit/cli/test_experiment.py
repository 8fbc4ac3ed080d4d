from pathlib import Path

import pytest

from spixgraph.cli.experiment import _changed, _named_after


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/data/axon_tem", "spixgraph-axon-tem"),
        ("/data/My Cells (2)", "spixgraph-my-cells-2"),
        ("/", "spixgraph-phantom"),
    ],
)
def test_a_model_is_called_after_its_data(folder, name):
    assert _named_after(Path(folder)).export.model_name == name


def test_the_minutes_of_a_model_are_those_of_all_its_networks():
    train = _changed(_named_after(Path("cells")), (), False, 1, 10.0).train
    assert train.gnn.context is not None
    assert train.gnn.context.max_minutes is not None
    assert train.gnn.max_minutes is not None
    assert train.gnn.max_minutes + train.gnn.context.max_minutes == 10
    assert train.mlp.max_minutes == train.cnn.max_minutes == 10
