"""From stored pixels to integer levels, tile by tile, inside the worker."""

import numpy as np
import numpy.typing as npt

from spixgraph.arrays import Array, Float64, Int64, ShapeZYX
from spixgraph.io.images import ArraySource
from spixgraph.io.limits import N_VALUES, read_scaled, scale_factors
from spixgraph.io.source import ImageInfo, ImageSource
from spixgraph.superpixels.basins.grid import Box
from spixgraph.superpixels.basins.jit import kernel
from spixgraph.superpixels.basins.levels import TOP, UInt16, to_levels

_ALL = slice(None)


class Levels:
    """Turns stored pixels into levels 0..32767 by image-wide limits.

    uint8 and uint16 go through a table of all their values, made by the formula of `read_scaled`
    and `to_levels`; floats are computed by it.
    """

    def __init__(self, dtype: np.dtype, limits: Float64) -> None:
        self._low, self._factor = scale_factors(limits)
        self._table: UInt16 | None = None
        if dtype.kind == "u":
            values: npt.NDArray[np.uint16] = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
            ramp = np.broadcast_to(values[None, None, :, None], (1, 1, values.size, len(limits)))
            scaled = read_scaled(ArraySource(ramp), limits, _ALL, _ALL, _ALL)
            self._table = np.ascontiguousarray(to_levels(scaled)[:, 0, 0])

    def fill(self, pixels: Array, start_zyx: ShapeZYX, out: UInt16) -> None:
        """Write the levels (C, Z, Y, X) of a box of pixels.

        Parameters
        ----------
        pixels : (Z', Y', X', C) array
            C-contiguous.
        start_zyx : three int
            Where in `pixels` the box starts; outside of them, their border is repeated.
        out : (C, Z, Y, X) uint16
        """
        if self._table is None:
            _fill_floats(pixels, *start_zyx, self._low, self._factor, out)
        else:
            _fill_integers(pixels, *start_zyx, self._table, out)


class LevelReader:
    """A `LevelSource`: any box of an image as levels."""

    def __init__(self, source: ImageSource, info: ImageInfo, levels: Levels) -> None:
        z, y, x, self.n_channels = info.shape_zyxc
        self.shape_zyx: ShapeZYX = (z, y, x)
        self._source, self._levels = source, levels

    def read(self, box: Box) -> UInt16:
        """See `LevelSource`."""
        pixels = self._source.read(*box)
        out = np.empty((self.n_channels, *pixels.shape[:3]), np.uint16)
        self._levels.fill(pixels, (0, 0, 0), out)
        return out


def count_values(digits: Array) -> Int64:
    """Do what `io.limits.count_values` does, three times as fast."""
    counts = np.zeros((len(digits), 2, N_VALUES), np.int64)
    _count(digits, counts)
    return counts.sum(axis=1)


@kernel
def _count(digits: Array, counts: Array) -> None:
    """Count in (C, 2, n): every other value apart, so that equal ones need not wait."""
    for c in range(digits.shape[0]):
        row, even, odd = digits[c], counts[c, 0], counts[c, 1]
        for i in range(0, row.size - 1, 2):
            even[row[i]] += 1
            odd[row[i + 1]] += 1
        if row.size % 2:
            even[row[row.size - 1]] += 1


@kernel
def _fill_integers(pixels: Array, z0: int, y0: int, x0: int, table: Array, out: Array) -> None:
    """Look up the levels of integer pixels in a table (C, n)."""
    n_z, n_y, n_x, n_c = pixels.shape
    begin, end = _inside(x0, out.shape[3], n_x)
    for z in range(out.shape[1]):
        plane = pixels[min(max(z0 + z, 0), n_z - 1)]
        for y in range(out.shape[2]):
            line = plane[min(max(y0 + y, 0), n_y - 1)]
            for c in range(n_c):
                levels, to = table[c], out[c, z, y]
                values, inside = line[x0 + begin :, c], to[begin:end]
                for x in range(inside.size):
                    inside[x] = levels[values[x]]
                _repeat_ends(to, begin, end)


@kernel
def _fill_floats(
    pixels: Array, z0: int, y0: int, x0: int, low: Array, factor: Array, out: Array
) -> None:
    """Scale float pixels as `read_scaled` does, round as `to_levels`."""
    n_z, n_y, n_x, n_c = pixels.shape
    begin, end = _inside(x0, out.shape[3], n_x)
    for z in range(out.shape[1]):
        plane = pixels[min(max(z0 + z, 0), n_z - 1)]
        for y in range(out.shape[2]):
            line = plane[min(max(y0 + y, 0), n_y - 1)]
            for c in range(n_c):
                to, zero, scale = out[c, z, y], low[c], factor[c]
                for x in range(begin, end):
                    part = (np.float32(line[x0 + x, c]) - zero) * scale
                    part = min(max(part, np.float32(0)), np.float32(1))
                    to[x] = np.uint16(np.rint(part * np.float32(TOP)))
                _repeat_ends(to, begin, end)


@kernel
def _inside(x0: int, n: int, n_x: int) -> tuple[int, int]:
    """Which part of n pixels from `x0` on lies in 0..n_x; one pixel at least."""
    begin = min(max(-x0, 0), n - 1)
    return begin, min(max(n_x - x0, begin + 1), n)


@kernel
def _repeat_ends(line: Array, begin: int, end: int) -> None:
    """Repeat the first and the last pixel of begin..end outwards."""
    for x in range(begin):
        line[x] = line[begin]
    for x in range(end, line.size):
        line[x] = line[end - 1]
