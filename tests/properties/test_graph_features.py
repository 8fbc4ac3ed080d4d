import functools
import operator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spixgraph.graph.build import paper_graph, rag_graph, with_targets
from spixgraph.graph.maps import feature_maps
from spixgraph.graph.region_graph import GraphSource, RegionGraph
from spixgraph.graph.sums import region_sums

PIXEL_SIZES = (None, (1.0, 1.0, 1.0), (0.5, 0.2, 0.2), (2.0, 0.1, 0.1))


def dense(labels):
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


@st.composite
def images(draw):
    """A small image or volume in few grey levels, and any dense labels."""
    shape = (
        draw(st.sampled_from([1, 1, 2, 5])),
        draw(st.integers(1, 12)),
        draw(st.integers(1, 12)),
    )
    n_channels = draw(st.integers(1, 3))
    levels = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    image = draw(arrays(np.float32, (*shape, n_channels), elements=levels))
    labels = draw(arrays(np.int32, shape, elements=st.integers(0, 9)))
    return image, dense(labels), draw(st.sampled_from(PIXEL_SIZES))


def build(image, labels, pixel_size_um, n_scales=5) -> RegionGraph:
    source = GraphSource("0" * 64, labels.shape, pixel_size_um, {})
    return rag_graph(image, labels, n_scales=n_scales, source=source)


def sums_of(image, labels, origin=(0, 0, 0), shape=None, *, maps, n):
    return region_sums(labels, image, maps.items(), n, origin_zyx=origin, shape_zyx=shape)


@settings(max_examples=30, deadline=None)
@given(images())
def test_every_value_is_finite_and_the_pixels_are_all_there(example):
    image, labels, pixel_size_um = example
    graph = build(image, labels, pixel_size_um)
    assert np.isfinite(graph.x).all()
    assert np.isfinite(graph.edge_attr).all()
    assert np.isfinite(graph.centroid_px).all()
    assert graph.n_pixels.sum() == labels.size
    assert len(set(graph.feature_names)) == graph.x.shape[1]
    again = build(image, labels, pixel_size_um)
    assert graph.x.tobytes() == again.x.tobytes()
    assert graph.edge_attr.tobytes() == again.edge_attr.tobytes()


@settings(max_examples=20, deadline=None)
@given(images(), st.randoms(use_true_random=False))
def test_other_ids_give_the_same_graph_in_another_order(example, random):
    image, labels, pixel_size_um = example
    graph = build(image, labels, pixel_size_um)
    new_id = np.array(random.sample(range(graph.n_regions), graph.n_regions), np.int32)
    other = build(image, new_id[labels], pixel_size_um)
    np.testing.assert_array_equal(other.x[new_id], graph.x)
    np.testing.assert_array_equal(other.n_pixels[new_id], graph.n_pixels)
    np.testing.assert_array_equal(other.centroid_px[new_id], graph.centroid_px)
    moved = new_id[graph.edge_index]
    order = np.lexsort(moved)
    np.testing.assert_array_equal(moved[:, order], other.edge_index)
    np.testing.assert_allclose(graph.edge_attr[order], other.edge_attr, rtol=1e-6, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(images(), st.integers(0, 2), st.data())
def test_sums_of_two_parts_are_the_sums_of_the_whole(example, axis, data):
    image, labels, _ = example
    maps = dict(feature_maps(image, n_scales=2, z_step=None))
    n, cut = int(labels.max()) + 1, data.draw(st.integers(0, labels.shape[axis]))
    whole = sums_of(image, labels, maps=maps, n=n)
    parts = []
    for start, stop in ((0, cut), (cut, labels.shape[axis])):
        if start == stop:
            continue
        box = (slice(None),) * axis + (slice(start, stop),)
        part = sums_of(
            image[box],
            labels[box],
            tuple(start * (a == axis) for a in range(3)),
            labels.shape,
            maps={name: values[box] for name, values in maps.items()},
            n=n,
        )
        parts.append(part)
    added = functools.reduce(operator.add, parts)
    for field in ("n_pixels", "n_border", "position", "position_sq", "histogram"):
        np.testing.assert_array_equal(getattr(added, field), getattr(whole, field))
    np.testing.assert_allclose(added.total, whole.total, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(added.total_sq, whole.total_sq, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(images())
def test_simple_columns_match_the_slow_twin(example):
    image, labels, pixel_size_um = example
    graph = build(image, labels, pixel_size_um, n_scales=1)
    column = dict(zip(graph.feature_names, graph.x.T, strict=True))
    for i in range(graph.n_regions):
        pixels = np.argwhere(labels == i)
        np.testing.assert_allclose(graph.centroid_px[i], pixels.mean(0))
        assert graph.n_pixels[i] == len(pixels)
        np.testing.assert_allclose(column["log_n_pixels"][i], np.log(len(pixels)), rtol=1e-5)
        for c in range(image.shape[-1]):
            values = image[labels == i][:, c]
            np.testing.assert_allclose(column[f"c{c}_intensity_mean"][i], values.mean(), rtol=1e-5)
            np.testing.assert_allclose(column[f"c{c}_intensity_std"][i], values.std(), atol=1e-5)
            for decile in range(1, 10):
                got = column[f"c{c}_decile_{decile}"][i]
                wanted = np.quantile(values, decile / 10, method="inverted_cdf")
                assert wanted - 1 / 32 <= got <= wanted + 1 / 32


@settings(max_examples=30, deadline=None)
@given(images(), st.integers(1, 12))
def test_paper_graph_and_targets(example, k):
    image, labels, pixel_size_um = example
    source = GraphSource("0" * 64, labels.shape, pixel_size_um, {})
    graph = paper_graph(image, labels, n_neighbours=k, edge_weight="spacing", source=source)
    assert graph.x.shape == (graph.n_regions, 11 * image.shape[-1])
    assert np.isfinite(graph.x).all()
    degree = np.bincount(graph.edge_index[1], minlength=graph.n_regions)
    assert (degree == min(k, graph.n_regions - 1)).all()
    mask = (labels % 2).astype(np.uint8)
    learned = with_targets(graph, labels, mask, 2)
    assert learned.target is not None
    assert learned.annotated is not None
    np.testing.assert_array_equal(learned.target.argmax(1), np.arange(graph.n_regions) % 2)
    np.testing.assert_array_equal(learned.annotated, 1)
