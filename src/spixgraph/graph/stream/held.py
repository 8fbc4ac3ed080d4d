"""A graph in memory, with the places of its blocks."""

from dataclasses import dataclass

from spixgraph.arrays import Array, Int64, LabelsZYX, ShapeZYX
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.stream.image_plan import ImagePlan
from spixgraph.graph.stream.written import NodeRows


@dataclass(frozen=True, slots=True, eq=False)
class HeldGraph:
    """The graph of a whole image, read as `StreamedGraph` is.

    Attributes
    ----------
    labels : (Z, Y, X) int32
    graph : RegionGraph
        Node i is the superpixel with label i.
    plan : ImagePlan
    numbers, first_node : (B,), (B + 1,) int64
        As in `StreamedGraph`.
    """

    labels: LabelsZYX
    graph: RegionGraph
    plan: ImagePlan
    numbers: Int64
    first_node: Int64

    @property
    def shape_zyx(self) -> ShapeZYX:
        """Of the labels."""
        return self.graph.source.shape_zyx

    def nodes(self, start: int, stop: int) -> NodeRows:
        """Return nodes start..stop."""
        rows, graph = slice(start, stop), self.graph
        return NodeRows(graph.x[rows], graph.centroid_px[rows], graph.n_pixels[rows])

    def block_labels(self, i: int) -> Array:
        """Return the labels (Z, Y, X) of block i of `numbers`."""
        return self.labels[self.plan.blocks.basins.grid.box(int(self.numbers[i]))]
