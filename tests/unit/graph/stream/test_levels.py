"""Levels against the formula for whole images."""

import numpy as np
import pytest

from spixgraph.graph.stream.levels import LevelReader, Levels, count_values
from spixgraph.io import limits as io_limits
from spixgraph.io.images import ArraySource
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.superpixels.basins.levels import to_levels
from tests.unit.graph.stream.images import ALL


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize(
    ("start", "size"),
    [((0, 0, 0), (3, 20, 30)), ((-2, 4, -7), (6, 30, 50)), ((2, 19, 29), (1, 3, 4))],
)
def test_tiles_are_levels_with_the_border_repeated(dtype, start, size):
    pixels = (np.random.default_rng(0).gamma(2, 40, (3, 20, 30, 2))).astype(dtype)
    source = ArraySource(pixels)
    limits = intensity_limits(source, low=0.1, high=0.9)
    out = np.empty((2, *size), np.uint16)
    Levels(pixels.dtype, limits).fill(pixels, start, out)
    whole = to_levels(read_scaled(source, limits, *ALL))
    index = [
        np.clip(np.arange(a, a + n), 0, m - 1)
        for a, n, m in zip(start, size, (3, 20, 30), strict=True)
    ]
    np.testing.assert_array_equal(out, whole[np.ix_(np.arange(2), *index)])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("n", [1, 2, 777])
def test_values_are_counted_as_numpy_does(dtype, n):
    digits = np.random.default_rng(0).integers(0, 250, (n, 3)).astype(dtype).T
    np.testing.assert_array_equal(count_values(digits), io_limits.count_values(digits))


def test_the_reader_gives_boxes():
    pixels = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6, 1)
    limits = np.array([[0.0, 119.0]])
    reader = LevelReader(
        ArraySource(pixels), ArraySource(pixels).info, Levels(pixels.dtype, limits)
    )
    box = (slice(1, 3), slice(0, 5), slice(2, 4))
    want = to_levels(pixels[box].astype(np.float32) / 119)
    assert np.abs(reader.read(box).astype(int) - want).max() <= 1
    assert reader.shape_zyx == (4, 5, 6)
