"""Image-wide intensity limits, from a sample, and pixels scaled by them.

Why image-wide: limits of a block would make the same tissue look different in two blocks.
"""

from collections.abc import Callable, Iterator

import numpy as np

from spixgraph.arrays import Array, Float32, Float64, ImageZYXC, Int64
from spixgraph.errors import InputError
from spixgraph.io.sample import Slices, sample_boxes
from spixgraph.io.source import ImageSource, stream_blocks

N_VALUES = 2**16


def count_values(digits: Array) -> Int64:
    """Count the values 0..65535 in each row of (C, n) unsigned integers."""
    return np.stack([np.bincount(row, minlength=N_VALUES) for row in digits])


def intensity_limits(
    source: ImageSource,
    *,
    low: float = 0.001,
    high: float = 0.999,
    count: Callable[[Array], Int64] = count_values,
) -> Float64:
    """Find two quantiles of each channel over the sample of an image, exactly.

    Parameters
    ----------
    source : ImageSource
        Read in the boxes of `sample.sample_boxes`, which is all of an image up to 16 megapixels:
        once for 8 and 16 bit, twice for floats.
    low, high : float
        Quantiles, 0 <= low < high <= 1.
    count : callable
        `count_values`, or one that does the same.

    Returns
    -------
    limits : (C, 2) float64
        The smallest value v of each channel such that a fraction of at least `low` (`high`) of
        the sample is <= v; floats are taken as float32.

    Raises
    ------
    InputError
        If not 0 <= low < high <= 1.
    StoredDataError
        If a float image holds NaN or inf.

    Notes
    -----
    Floats are found by their bits, which sort like the values once the sign is turned: a
    histogram of the upper 16 bits finds the bin, one of the lower 16 bits the value in it. So
    one very bright pixel does not cost accuracy, as it would in bins of equal width.
    """
    if not 0 <= low < high <= 1:
        raise InputError(f"low={low}, high={high} must keep 0 <= low < high <= 1")
    counts = np.zeros((source.info.n_channels, N_VALUES), np.int64)
    for keys in _channel_keys(source):
        counts += count(keys >> 16 if keys.dtype == np.uint32 else keys)
    bins, ranks = _find_bins(counts, (low, high))
    if source.info.dtype.kind != "f":
        return bins.astype(np.float64)
    return _float_of_key((bins << 16) | _lower_digits(source, bins, ranks))


def _channel_keys(source: ImageSource) -> Iterator[Array]:
    """Yield (C, n) unsigned keys, block by block, that sort like the pixels."""
    z, y, x, _ = source.info.shape_zyxc
    for box in sample_boxes((z, y, x), source.info.spacing_zyx):
        for part in _parts(box):
            block = source.read(*part)
            pixels = block.reshape(-1, block.shape[-1]).T
            yield _key_of_float(pixels) if block.dtype.kind == "f" else pixels


def _parts(box: Slices) -> Iterator[Slices]:
    """Cut a box into blocks that are read at once."""
    z0, y0, x0 = (s.start for s in box)
    z1, y1, x1 = (s.stop for s in box)
    for z, y, x in stream_blocks((z1 - z0, y1 - y0, x1 - x0, 1)):
        yield (
            slice(z0 + z.start, z0 + z.stop),
            slice(y0 + y.start, y0 + y.stop),
            slice(x0 + x.start, x0 + x.stop),
        )


def _key_of_float(values: Array) -> Array:
    """Turn float32 bits such that they sort like the values."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _float_of_key(keys: Int64) -> Float64:
    """Undo `_key_of_float`."""
    key = keys.astype(np.uint32)
    bits = np.where(key >> 31, key & np.uint32((1 << 31) - 1), ~key)
    return bits.view(np.float32).astype(np.float64)


def _find_bins(counts: Int64, quantiles: tuple[float, float]) -> tuple[Int64, Int64]:
    """Find the bin of each quantile and the rank (from 1) in that bin, both (C, 2)."""
    below = np.cumsum(counts, axis=1)
    ranks = np.maximum(1, np.ceil(np.asarray(quantiles) * below[0, -1])).astype(np.int64)
    bins = np.stack([np.searchsorted(row, ranks) for row in below])
    before = np.take_along_axis(below - counts, bins, axis=1)
    return bins, ranks - before


def _lower_digits(source: ImageSource, bins: Int64, ranks: Int64) -> Int64:
    """Find the lower 16 bits of the pixels at `ranks` of the upper bins; second pass."""
    counts = np.zeros((*bins.shape, N_VALUES), np.int64)
    for keys in _channel_keys(source):
        for c, q in np.ndindex(*bins.shape):
            inside = keys[c][keys[c] >> 16 == bins[c, q]]
            counts[c, q] += np.bincount(inside & 0xFFFF, minlength=N_VALUES)
    below = np.cumsum(counts, axis=-1)
    digits = [np.searchsorted(below[i], ranks[i]) for i in np.ndindex(*bins.shape)]
    return np.asarray(digits, np.int64).reshape(bins.shape)


def read_scaled(source: ImageSource, limits: Float64, z: slice, y: slice, x: slice) -> ImageZYXC:
    """Read a block and scale each channel by image-wide limits.

    Parameters
    ----------
    source : ImageSource
    limits : (C, 2) float64
        Low and high of each channel, from `intensity_limits`.
    z, y, x : slice
        The block, see `ImageSource.read`.

    Returns
    -------
    image : (Z, Y, X, C) float32
        ``clip((v - low) / (high - low), 0, 1)``; 0 where high == low.

    Raises
    ------
    InputError
        If `limits` is not (C, 2) and finite.
    """
    if limits.shape != (source.info.n_channels, 2) or not np.isfinite(limits).all():
        raise InputError(
            f"limits must be finite ({source.info.n_channels}, 2), one row per channel, got shape "
            f"{limits.shape}; io.limits.intensity_limits makes them"
        )
    low, factor = scale_factors(limits)
    image = source.read(z, y, x).astype(np.float32)
    image -= low
    image *= factor
    return np.clip(image, 0, 1, out=image)


def scale_factors(limits: Float64) -> tuple[Float32, Float32]:
    """Return what `read_scaled` subtracts from, then multiplies each channel with; (C,) both."""
    low = limits[:, 0].astype(np.float32)
    span = (limits[:, 1] - limits[:, 0]).astype(np.float32)
    return low, np.divide(1, span, out=np.zeros_like(span), where=span > 0)
