"""Three gigapixels: places beyond 2**31 pixels, by a region of interest at the far end."""

import numpy as np

from spixgraph.graph.blocks.describe import describe_block
from spixgraph.graph.region_graph import load_graph
from spixgraph.graph.stream import stream_graph
from spixgraph.superpixels.basins.block import Workspace
from tests.unit.graph.stream.measure_peak import TiledSource

SHAPE = (1, 60_000, 50_000, 1)


def test_the_far_end_of_three_gigapixels(tmp_path):
    source = TiledSource(SHAPE, np.uint8, None)
    roi = (slice(None), slice(59_392, 60_000), slice(49_152, 50_000))
    found = stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=2000, workers=2, roi=roi)
    assert found.numbers.tolist() == [11_464, 11_465, 11_562, 11_563]
    whole, work = load_graph(tmp_path / "g.zarr"), Workspace()
    for i, number in enumerate(found.numbers):
        tile = found.plan.read_tile(source, number)
        block = describe_block(tile, found.plan.blocks.place(number), found.plan.blocks, work)
        first, end = found.first_node[i : i + 2]
        np.testing.assert_array_equal(found.block_labels(i), block.labels + np.int64(first))
        np.testing.assert_array_equal(whole.centroid_px[first:end], block.centroid_px)
    assert whole.centroid_px[:, 1].min() > 59_392 - 1
    last = whole.centroid_px[-1]
    assert last[1] * SHAPE[2] + last[2] > 2**31
    assert whole.n_pixels.sum() == 608 * 848
    u, v = whole.edge_index
    distance = np.abs(whole.centroid_px[u] - whole.centroid_px[v])
    assert distance.max() < 700
