"""The law: workers, squares that are read, disk or memory, and regions change no byte."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spixgraph.graph.blocks.describe import describe_block
from spixgraph.graph.region_graph import load_graph
from spixgraph.graph.stream import image_graph, stream_graph
from spixgraph.io.images import ArraySource
from spixgraph.superpixels.basins.block import Workspace
from tests.unit.graph.stream.images import pixels_of, require_same_graph

KINDS = {  # largest shape (z, y, x), pixel size, sizes of blocks
    "image": ((1, 150, 150), None, [(1, 32, 32), (1, 48, 24), (1, 16, 80)]),
    "stack": ((5, 70, 70), (8.0, 1.0, 1.0), [(1, 32, 32), (1, 16, 40)]),
    "volume": ((40, 40, 40), (1.5, 1.0, 1.0), [(16, 16, 16), (8, 32, 24)]),
}


@st.composite
def cases(draw):
    """A source, a block size, a number of workers, and an aligned region of interest."""
    largest, size, blocks = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    shape = [draw(st.integers(1 if i else min(2, n), n)) for i, n in enumerate(largest)]
    n_channels = draw(st.integers(1, 3))
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.float32]))
    pixels = pixels_of((*shape, n_channels), dtype, seed=draw(st.integers(0, 99)))
    block = draw(st.sampled_from(blocks))
    roi = tuple(draw(spans(n, b)) for n, b in zip(shape, block, strict=True))
    return ArraySource(pixels, size), block, draw(st.integers(1, 4)), roi


@st.composite
def spans(draw, size, block):
    """A slice on barrier lines."""
    n_blocks = -(-size // block)
    first = draw(st.integers(0, n_blocks - 1))
    last = draw(st.integers(first, n_blocks - 1))
    return slice(first * block, min((last + 1) * block, size))


def require_blocks(source, streamed, labels, x):
    """Each block of a graph is what its own tile gives."""
    plan, work = streamed.plan, Workspace()
    for i, number in enumerate(streamed.numbers):
        tile, place = plan.read_tile(source, number), plan.blocks.place(number)
        block = describe_block(tile, place, plan.blocks, work)
        first, end = streamed.first_node[i : i + 2]
        found = labels[plan.blocks.basins.grid.box(number)]
        np.testing.assert_array_equal(found, block.labels.astype(np.int64) + first)
        np.testing.assert_array_equal(x[first:end, : block.x.shape[1]], block.x)


@settings(max_examples=25, deadline=None)
@given(case=cases(), nodes=st.sampled_from([800.0, 5000.0]), block_px=st.integers(16, 200))
def test_the_law(case, nodes, block_px):
    source, block, workers, roi = case
    labels, graph = image_graph(source, nodes_per_megapixel=nodes, block_zyx=block)
    options: dict[str, Any] = {"nodes_per_megapixel": nodes, "block_zyx": block, "workers": workers}
    with tempfile.TemporaryDirectory() as folder:
        out, part = Path(folder) / "all.zarr", Path(folder) / "part.zarr"
        streamed = stream_graph(source, out, block_px=block_px, **options)
        np.testing.assert_array_equal(streamed.labels[...], labels)
        require_same_graph(load_graph(out), graph)
        require_blocks(source, streamed, labels, graph.x)
        found = stream_graph(source, part, roi=roi, **options)
        ids, inverse = np.unique(labels[roi], return_inverse=True)
        np.testing.assert_array_equal(np.ravel(found.labels[...]), inverse.ravel())
        rows = load_graph(part)
        np.testing.assert_array_equal(rows.centroid_px, graph.centroid_px[ids])
        n = graph.x.shape[1] - source.info.n_channels  # neighbour contrast sees the region alone
        np.testing.assert_array_equal(rows.x[:, :n], graph.x[ids, :n])
        within = np.isin(graph.edge_index, ids).all(axis=0)
        np.testing.assert_array_equal(
            rows.edge_index, np.searchsorted(ids, graph.edge_index[:, within])
        )
        np.testing.assert_array_equal(rows.edge_attr, graph.edge_attr[within])
