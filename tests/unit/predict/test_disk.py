"""The disk that a run is said to take, against what lies there at its peak."""

import pytest

from spixgraph.config.recipe import BasinParams, GraphRecipe
from spixgraph.graph.stream import stream_graph
from spixgraph.graph.stream.store import FolderStore
from spixgraph.io.images import ArraySource
from spixgraph.predict.contract import plan_segment
from tests.unit.graph.stream.images import pixels_of


@pytest.mark.parametrize(("shape", "size", "nodes"), [
    ((1, 700, 600), None, 3000),
    ((6, 300, 250), None, 5000),
    ((70, 80, 90), (1.0, 1.0, 1.0), 3000),
])  # fmt: skip
def test_the_disk_of_a_graph_is_what_was_predicted(tmp_path, monkeypatch, shape, size, nodes):
    pixels = pixels_of((*shape, 1))
    source = ArraySource(pixels, size)
    seen = []
    close = FolderStore.close

    def counted(self, attributes=None):
        seen.append(sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file()))
        close(self, attributes)

    monkeypatch.setattr(FolderStore, "close", counted)
    stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=nodes)
    recipe = GraphRecipe(superpixels=BasinParams(nodes_per_megapixel=nodes))
    said = plan_segment(source, recipe, None, workers=1).disk_bytes
    assert max(seen) == pytest.approx(said, rel=0.2)
