"""From any image to its superpixels and region graph, on disk or in memory, with the same bytes.

`image_plan` decides what is image-wide from a sample of blocks; `driver` reads the image once,
strip by strip, and works on its blocks; `seams` joins them; `edges` finishes the tables;
`written` opens what is on disk, `held` is the same in memory.
"""

from spixgraph.graph.stream.driver import hold_graph, image_graph, stream_graph
from spixgraph.graph.stream.held import HeldGraph
from spixgraph.graph.stream.image_plan import ImagePlan, in_memory, plan_image
from spixgraph.graph.stream.written import StreamedGraph

__all__ = [
    "HeldGraph",
    "ImagePlan",
    "StreamedGraph",
    "hold_graph",
    "image_graph",
    "in_memory",
    "plan_image",
    "stream_graph",
]
