"""A graph with the columns of the engine, of superpixels that a test chooses."""

import numpy as np
import pytest

from spixgraph.arrays import Float32, Int32
from spixgraph.graph.blocks import describe
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.stream import image_graph, image_plan
from spixgraph.io.images import ArraySource
from spixgraph.superpixels.basins.block import label_block


def graph_of_labels(image: Float32, labels: Int32) -> RegionGraph:
    """Describe `labels` (1, Y, X), dense, of an image (1, Y, X, C) float32 of one block.

    Intensities are taken as they are, 0..1, so that images of another exposure compare.
    """
    assert len(labels) == 1
    assert max(labels.shape) <= 256
    n = int(labels.max()) + 1

    def given(*block):
        return labels.astype(np.uint16), n, label_block(*block)[2]

    def as_they_are(source, **_):
        return np.array([[0.0, 1.0]] * source.info.n_channels)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(describe, "label_block", given)
        patched.setattr(image_plan, "intensity_limits", as_they_are)
        _, graph = image_graph(ArraySource(image), nodes_per_megapixel=n / labels.size * 1e6)
    return graph
