"""The paper's graph and the targets of any labels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spixgraph.graph.paper import paper_graph
from spixgraph.graph.region_graph import GraphSource
from spixgraph.graph.targets import with_targets


@st.composite
def images(draw):
    """A small image or volume in few grey levels, and any dense labels."""
    shape = (
        draw(st.sampled_from([1, 1, 2, 5])),
        draw(st.integers(1, 12)),
        draw(st.integers(1, 12)),
    )
    levels = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    image = draw(arrays(np.float32, (*shape, draw(st.integers(1, 3))), elements=levels))
    labels = draw(arrays(np.int32, shape, elements=st.integers(0, 9)))
    return image, np.unique(labels, return_inverse=True)[1].reshape(shape).astype(np.int32)


@settings(max_examples=30, deadline=None)
@given(images(), st.integers(1, 12))
def test_paper_graph_and_targets(example, k):
    image, labels = example
    source = GraphSource("0" * 64, labels.shape, None, {})
    graph = paper_graph(image, labels, n_neighbours=k, edge_weight="spacing", source=source)
    assert graph.x.shape == (graph.n_regions, 11 * image.shape[-1])
    assert np.isfinite(graph.x).all()
    degree = np.bincount(graph.edge_index[1], minlength=graph.n_regions)
    assert (degree == min(k, graph.n_regions - 1)).all()
    for i in range(graph.n_regions):
        pixels = np.argwhere(labels == i)
        np.testing.assert_allclose(graph.centroid_px[i], pixels.mean(0))
        assert graph.n_pixels[i] == len(pixels)
    learned = with_targets(graph, labels, (labels % 2).astype(np.uint8), 2)
    assert learned.target is not None
    assert learned.annotated is not None
    np.testing.assert_array_equal(learned.target.argmax(1), np.arange(graph.n_regions) % 2)
    np.testing.assert_array_equal(learned.annotated, 1)
