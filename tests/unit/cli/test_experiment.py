from pathlib import Path

import pytest

from spixgraph.cli.experiment import _named_after


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
