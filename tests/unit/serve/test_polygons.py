import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from spixgraph.errors import InputError
from spixgraph.serve import polygons
from spixgraph.serve.polygons import polygons_of


def filled_slowly(found, shape):
    """Even-odd rule at the centre of every pixel, ring edge by ring edge."""
    inside = np.zeros(shape, bool)
    for y, x in np.ndindex(shape):
        for polygon in found:
            for ring in polygon:
                for (x0, y0), (x1, y1) in itertools.pairwise(ring):
                    if x0 == x1 and x0 > x and min(y0, y1) <= y < max(y0, y1):
                        inside[y, x] ^= True
    return inside


def area(ring):
    x, y = np.array(ring[:-1]).T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda s: arrays(bool, s))


@settings(deadline=None)
@given(mask=masks)
def test_filling_the_outlines_gives_the_mask(mask):
    np.testing.assert_array_equal(filled_slowly(polygons_of(mask), mask.shape), mask)


@settings(deadline=None)
@given(mask=masks)
def test_one_polygon_per_region_with_closed_rings_of_corners(mask):
    found = polygons_of(mask)
    _, n_regions = ndimage.label(mask)
    assert len(found) == n_regions
    for polygon in found:
        assert area(polygon[0]) > 0
        assert all(area(hole) < 0 for hole in polygon[1:])
        for ring in polygon:
            assert ring[0] == ring[-1]
            steps = np.diff(np.array(ring), axis=0)
            assert (np.count_nonzero(steps, axis=1) == 1).all()
            turns = np.roll(steps, -1, axis=0)
            assert (np.abs((steps * turns).sum(1)) == 0).all()  # each corner turns
    assert sum(area(ring) for polygon in found for ring in polygon) == mask.sum()


def test_a_ring_with_a_hole():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    assert polygons_of(mask) == [
        [[[0, 0], [3, 0], [3, 3], [0, 3], [0, 0]], [[1, 2], [2, 2], [2, 1], [1, 1], [1, 2]]]
    ]


def test_too_many_edges_are_refused(monkeypatch):
    monkeypatch.setattr(polygons, "MAX_CORNERS", 10)
    with pytest.raises(InputError, match="12 edges, 10 are the limit"):
        polygons_of(np.eye(3, dtype=bool))
