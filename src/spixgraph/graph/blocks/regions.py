"""Each superpixel from its own pixels: size, place, moments and deciles; in integers.

Indices are unsigned where it counts: numba need not look for negative ones.
"""

from typing import NamedTuple

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel

N_BINS, BIN_BITS = 64, 9
BAND_ZERO = 32768
"""Stands for 0 in the plane of the band-pass."""
_0, _1 = np.uint64(0), np.uint64(1)


class Smoothed(NamedTuple):
    """What the superpixels of a block were made from."""

    padded: Array  # uint16, gradient with a rim of one pixel, along z in a volume only
    once: Array  # (C, ...) uint16, channels times weight, smoothed once, 3 pixels beyond the block
    weights: Array  # (C,) float32


@kernel
def list_runs(labels: Array, end: Array) -> int:
    """Write the flat end of each run of one label along x; return their number.

    `labels` is (lines, X) uint16.
    """
    n = 0
    n_x = labels.shape[1]
    for i in range(labels.shape[0]):
        line, begin = labels[i], i * n_x
        for x in range(n_x - 1):
            end[n] = begin + x + 1
            n += line[x] != line[x + 1]
        end[n] = begin + n_x
        n += 1
    return n


@kernel
def add_places(
    labels: Array, end: Array, n_runs: int, origin: Array, shape: Array, places: Array
) -> None:
    """Add up sizes and places over runs, to (n, 11) int64.

    Columns: pixels, pixels on the border of the image, z, y, x, zz, zy, zx, yy, yx, xx. Places are
    of the block; `origin` and `shape` are three int64, of the block and of the image.
    """
    n_y, n_x = labels.shape[1:]
    flat = labels.reshape(-1)
    begin, line, z, y = 0, 0, 0, 0
    for i in range(n_runs):
        if begin == line + n_x:
            line = begin
            y += 1
            if y == n_y:
                z, y = z + 1, 0
        first, last = begin - line, end[i] - 1 - line
        length = last - first + 1
        x_sum = (first + last) * length >> 1
        to = places[flat[np.uint64(begin)]]
        at_z, at_y = z + origin[0], y + origin[1]
        edge = (shape[0] > 1 and (at_z == 0 or at_z == shape[0] - 1)) or (
            at_y == 0 or at_y == shape[1] - 1
        )
        sides = np.int64(first + origin[2] == 0)
        sides += np.int64(last + origin[2] == shape[2] - 1 and shape[2] > 1)
        to[0] += length
        to[1] += length if edge else sides
        to[2] += z * length
        to[3] += y * length
        to[4] += x_sum
        to[5] += z * z * length
        to[6] += z * y * length
        to[7] += z * x_sum
        to[8] += y * y * length
        to[9] += y * x_sum
        to[10] += _squares(last) - _squares(first - 1)
        begin = end[i]


@kernel
def _squares(n: int) -> int:
    """Sum of the squares 0..n."""
    return n * (n + 1) * (2 * n + 1) // 6


@kernel
def add_pixels(
    tile: Array,
    skip_z: int,
    skip: int,
    basins: Smoothed,
    labels: Array,
    end: Array,
    histogram: Array,
    total: Array,
) -> None:
    """Add up what each pixel shows, over superpixels.

    There are P = C + 2 planes: the levels of the channels, the gradient, and the band-pass: the
    mean of channels times weight, minus their smoothed ones, above `BAND_ZERO`.

    Parameters
    ----------
    tile : (C, Z', Y', X') uint16
        Levels; the block begins `skip_z`, `skip` inside of it.
    basins : Smoothed
    labels : (Z, Y, X) uint16
    end : (runs,) int32
        Of `list_runs`.
    histogram : (n, C, 2, 64) int32
        Levels in bins; pixels at even and odd x apart, so that neighbours do not wait for each
        other.
    total : (n, 2 P) int64
        Sums of the planes, then of their squares.
    """
    n_y, n_x = labels.shape[1:]
    n_planes = tile.shape[0] + 2
    line, sums = np.empty((n_planes, n_x), np.uint16), np.zeros((2, n_x + 1), np.uint64)
    histogram[...] = 0
    total[...] = 0
    run = 0
    for i in range(labels.shape[0] * n_y):
        z, y = i // n_y, i % n_y
        _write_line(tile, skip_z, skip, basins, z, y, line)
        names = labels[z, y]
        for c in range(tile.shape[0]):
            for x in range(n_x):
                histogram[names[x], c, x & 1, line[c, x] >> BIN_BITS] += 1
        run = _add_runs(line, names, end, run, i * n_x, sums, total)


@kernel
def _add_runs(
    line: Array, names: Array, end: Array, first: int, place: int, sums: Array, total: Array
) -> int:
    """Add a line of each plane by the sums up to each pixel; return the first run of the next line.

    `first` is the first run of the line, `place` where it begins in the flat labels; `sums`
    (2, X + 1) uint64 is workspace.
    """
    n_planes, n_x = line.shape[0], np.uint64(names.size)
    run = np.uint64(first)
    for p in range(n_planes):
        sum_, square = _0, _0
        for x in range(names.size):
            value = np.uint64(line[p, x])
            sum_ += value
            square += value * value
            sums[0, x + 1], sums[1, x + 1] = sum_, square
        run, start = np.uint64(first), _0
        while start < n_x:
            stop, label = np.uint64(end[run]) - np.uint64(place), names[start]
            total[label, p] += np.int64(sums[0, stop] - sums[0, start])
            total[label, n_planes + p] += np.int64(sums[1, stop] - sums[1, start])
            run += _1
            start = stop
    return int(run)


@kernel
def _write_line(
    tile: Array, skip_z: int, skip: int, basins: Smoothed, z: int, y: int, line: Array
) -> None:
    """Write one line of all planes."""
    n_channels, n_x = tile.shape[0], line.shape[1]
    deep = 1 if basins.padded.shape[0] > 1 else 0
    band = np.zeros(n_x, np.int32)
    for c in range(n_channels):
        values, to = tile[c, z + skip_z, y + skip, skip:], line[c]
        low, weight = basins.once[c, z + 3 * deep, y + 3, 3:], basins.weights[c]
        for x in range(n_x):
            to[x] = values[x]
            weighed = np.int32(np.rint(np.float32(values[x]) * weight))
            band[x] += weighed - np.int32(low[x])
    values, to = basins.padded[z + deep, y + 1, 1:], line[n_channels]
    for x in range(n_x):
        to[x] = values[x]
    share, to = np.float32(1 / n_channels), line[n_channels + 1]
    for x in range(n_x):
        to[x] = np.int32(np.rint(np.float32(band[x]) * share)) + BAND_ZERO


@kernel
def write_deciles(histogram: Array, places: Array, out: Array, first: int) -> None:
    """Write nine quantiles of each channel into columns of (n, F) float32, as parts of 0..1.

    They come from 64 bins (n, C, 2, 64), linear within a bin.
    """
    for i in range(out.shape[0]):
        column = first
        for c in range(histogram.shape[1]):
            even, odd = histogram[i, c, 0], histogram[i, c, 1]
            place, below, here = 0, 0, even[0] + odd[0]
            for decile in range(1, 10):
                wanted = places[i, 0] * (decile / 10)
                while below + here < wanted:
                    below += here
                    place += 1
                    here = even[place] + odd[place]
                out[i, column] = (place + (wanted - below) / max(here, 1)) / N_BINS
                column += 1
