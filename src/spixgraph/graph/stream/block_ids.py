"""Which nodes of a streamed graph lie in which block."""

import numpy as np

from spixgraph.arrays import Int64
from spixgraph.graph.partitions import BlockIds
from spixgraph.graph.stored_graph import LearnedGraph
from spixgraph.graph.stream.attributes import plan_of
from spixgraph.graph.stream.image_plan import ImagePlan
from spixgraph.graph.stream.region import Region, region_of


def blocks_of_graph(graph: LearnedGraph) -> tuple[ImagePlan, Region, Int64]:
    """Return the plan of a streamed graph, its region, and the first node of each block.

    A superpixel lies in one block, and so does its centroid; blocks are numbered like nodes.
    """
    plan = plan_of(graph.source.params)
    grid = plan.blocks.basins.grid
    region = region_of(grid, None)
    cell = (np.asarray(graph.centroid_px[:]) // grid.block_zyx).astype(np.int64)
    number = np.ravel_multi_index(tuple(cell.T), grid.n_blocks_zyx)
    return plan, region, np.searchsorted(number, np.arange(grid.n_blocks + 1))


def block_ids(plan: ImagePlan, region: Region, first_node: Int64) -> BlockIds:
    """Say which nodes lie in which block of a region; `first_node` as in `StreamedGraph`."""
    grid = region.grid
    per_pixel = plan.nodes_per_megapixel / 1e6
    across = per_pixel ** (1 / 3 if grid.is_volume else 1 / 2)
    z, y, x = grid.block_zyx
    hops_z = z * across if grid.is_volume else 1.0
    n_blocks = (len(region.z), len(region.y), len(region.x))
    return BlockIds(n_blocks, first_node, (hops_z, y * across, x * across))
