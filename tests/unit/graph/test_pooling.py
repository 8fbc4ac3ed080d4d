import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from spixgraph.graph.pooling import add_geometry, add_histogram, add_moments


def stretched(values, shape, steps):
    """Interpolate linearly; a coarse pixel lies in the middle of its fine ones."""
    axes = [(np.arange(n) + 0.5) / s - 0.5 for n, s in zip(shape, steps, strict=True)]
    return map_coordinates(values, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((1, 1, 1), (1, 1, 1)),
        ((1, 13, 18), (1, 1, 1)),
        ((1, 13, 18), (1, 2, 2)),
        ((1, 13, 18), (1, 8, 8)),
        ((1, 3, 40), (1, 4, 4)),
        ((9, 13, 18), (2, 4, 4)),
        ((9, 13, 18), (1, 2, 2)),
    ],
)
def test_moments_match_interpolation_and_bincount(shape, steps):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, shape).astype(np.int32)
    coarse = [-(-n // s) for n, s in zip(shape, steps, strict=True)]
    values = rng.normal(size=coarse).astype(np.float32)
    total, total_sq = np.zeros((2, 5))
    add_moments(labels, values, total, total_sq)
    fine = stretched(values.astype(np.float64), shape, steps).ravel()
    np.testing.assert_allclose(total, np.bincount(labels.ravel(), fine, 5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(total_sq, np.bincount(labels.ravel(), fine**2, 5), rtol=1e-4)


def test_histogram_counts_every_value_once():
    values = np.array([[[-0.1, 0.0, 0.249, 0.25, 0.99, 1.0, 7.0]]], np.float32)
    labels = np.array([[[0, 0, 0, 0, 1, 1, 1]]], np.int32)
    histogram = np.zeros((2, 4), np.int32)
    add_histogram(labels, values, histogram)
    assert histogram.tolist() == [[3, 1, 0, 0], [0, 0, 0, 3]]


def test_geometry_of_a_block_in_its_place():
    labels = np.array([[[0, 1], [1, 1]]], np.int32)
    n_pixels, n_border = np.zeros((2, 2), np.int64)
    position, position_sq = np.zeros((3, 2), np.int64), np.zeros((6, 2), np.int64)
    add_geometry(labels, (2, 3, 5), (4, 5, 8), n_pixels, n_border, position, position_sq)
    assert n_pixels.tolist() == [1, 3]
    assert n_border.tolist() == [0, 2]  # y = 4 is the last row
    assert position.T.tolist() == [[2, 3, 5], [6, 11, 17]]
    assert position_sq.T.tolist() == [
        [4, 6, 10, 9, 15, 25],
        [12, 22, 34, 9 + 16 + 16, 18 + 20 + 24, 36 + 25 + 36],
    ]
