import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from spixgraph.graph.adjacency import (
    Contacts,
    both_directions,
    region_contacts,
    seam_contacts,
)

shapes = array_shapes(min_dims=3, max_dims=3, max_side=6)


@st.composite
def images(draw):
    shape = draw(shapes)
    labels = draw(arrays(np.int32, shape, elements=st.integers(0, 7)))
    gradient = draw(arrays(np.float32, shape, elements=st.integers(0, 64).map(float)))
    return labels, gradient


def contacts_slow(labels, gradient):
    """Look at every pair of neighbours, one after the other."""
    found: dict[tuple[int, int], list[float]] = {}
    for here in np.ndindex(labels.shape):
        for axis in range(3):
            there = tuple(p + (a == axis) for a, p in enumerate(here))
            if there[axis] < labels.shape[axis] and labels[here] != labels[there]:
                u, v = sorted((int(labels[here]), int(labels[there])))
                found.setdefault((u, v), []).append(max(gradient[here], gradient[there]))
    return {pair: (len(v), float(sum(v)), float(max(v))) for pair, v in sorted(found.items())}


def as_dict(contacts: Contacts):
    rows = zip(contacts.length_px, contacts.gradient_sum, contacts.gradient_max, strict=True)
    return dict(zip(map(tuple, contacts.pairs.T.tolist()), [tuple(r) for r in rows], strict=True))


@given(images())
def test_contacts_match_the_slow_twin(image):
    found = as_dict(region_contacts(*image))
    slow = contacts_slow(*image)
    assert found == slow
    assert list(found) == list(slow)


@given(images(), st.data())
def test_blocks_and_their_seam_add_up_to_the_whole(image, data):
    labels, gradient = image
    axis = data.draw(st.integers(0, 2))
    cut = data.draw(st.integers(0, labels.shape[axis]))
    (top, bottom), (g_top, g_bottom) = (np.split(a, [cut], axis) for a in image)
    parts = region_contacts(top, g_top) + region_contacts(bottom, g_bottom)
    if 0 < cut < labels.shape[axis]:
        last, first = (np.take(a, i, axis) for a, i in ((top, -1), (bottom, 0)))
        g_last, g_first = (np.take(a, i, axis) for a, i in ((g_top, -1), (g_bottom, 0)))
        parts = parts + seam_contacts(last, g_last, first, g_first)
    assert as_dict(parts) == as_dict(region_contacts(labels, gradient))


@given(images())
def test_edges_go_both_ways_sorted_by_target_then_source(image):
    contacts = region_contacts(*image)
    edge_index, pair = both_directions(contacts)
    edges = list(map(tuple, edge_index.T.tolist()))
    assert edges == sorted(edges, key=lambda e: (e[1], e[0]))
    assert {(v, u) for u, v in edges} == set(edges)
    assert len(edges) == len(set(edges)) == 2 * contacts.pairs.shape[1]
    np.testing.assert_array_equal(contacts.pairs[:, pair], np.sort(edge_index, axis=0))
