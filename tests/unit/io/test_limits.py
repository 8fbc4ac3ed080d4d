"""Limits against numpy's quantiles of the whole image."""

import numpy as np
import pytest

from spixgraph.errors import InputError, StoredDataError
from spixgraph.io.images import ArraySource
from spixgraph.io.limits import intensity_limits, read_scaled

ALL = (slice(None),) * 3


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 600, 530, 2), (40, 30, 20, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize(("low", "high"), [(0.001, 0.999), (0.0, 1.0), (0.25, 0.5)])
def test_limits_are_exact_quantiles(dtype, shape, low, high):
    values = np.random.default_rng(0).normal(0, 1000, shape)
    pixels = values.astype(dtype) if dtype[0] == "f" else np.abs(values * 0.05).astype(dtype)
    pixels[0, 0, 0] = 255 if dtype[0] == "u" else 1e30  # one outlier costs no accuracy
    got = intensity_limits(ArraySource(pixels), low=low, high=high)
    flat = pixels.reshape(-1, shape[-1]).astype(np.float32 if dtype[0] == "f" else dtype)
    want = np.quantile(flat, [low, high], axis=0, method="inverted_cdf").T
    np.testing.assert_array_equal(got, want)


def test_each_pixel_is_read_once_or_twice():
    class Counting(ArraySource):
        n_read = 0

        def read(self, z, y, x):
            block = super().read(z, y, x)
            self.n_read += block.size
            return block

    for dtype, passes in ((np.uint16, 1), (np.float32, 2)):
        source = Counting(np.ones((2, 600, 600, 1), dtype))
        intensity_limits(source)
        assert source.n_read == passes * 2 * 600 * 600


def test_limits_refuse_bad_arguments():
    source = ArraySource(np.zeros((1, 4, 4, 2), np.uint8))
    for low, high in ((0.5, 0.5), (-0.1, 1), (0, 1.1)):
        with pytest.raises(InputError, match="0 <= low < high <= 1"):
            intensity_limits(source, low=low, high=high)
    for limits in (np.zeros((1, 2)), np.full((2, 2), np.nan)):
        with pytest.raises(InputError, match="limits must be finite"):
            read_scaled(source, limits, *ALL)


def test_nan_is_refused():
    with pytest.raises(StoredDataError, match="NaN"):
        intensity_limits(ArraySource(np.full((1, 4, 4, 1), np.nan, np.float32)))


def test_scaled_is_clipped_and_constant_is_zero():
    pixels = np.array([[0, 10, 20, 40], [7, 7, 7, 7]], np.uint8).T[None, None]
    image = read_scaled(ArraySource(pixels), np.array([[10.0, 30], [7, 7]]), *ALL)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image[0, 0, :, 0], [0, 0, 0.5, 1])
    np.testing.assert_array_equal(image[0, 0, :, 1], 0)


def test_scaled_blocks_are_parts_of_the_whole():
    pixels = np.random.default_rng(0).integers(0, 65536, (3, 20, 30, 2), dtype=np.uint16)
    source = ArraySource(pixels)
    limits = intensity_limits(source)
    whole = read_scaled(source, limits, *ALL)
    block = read_scaled(source, limits, slice(1, 2), slice(3, 17), slice(5, 30))
    np.testing.assert_array_equal(block, whole[1:2, 3:17, 5:30])
