"""Decoded chunks of a Zarr array: the last ones are kept.

Why: an image is read some rows at a time, and Zarr decodes a whole chunk for each of its rows that
is asked for. The unit is a row of chunks, read at once, so that a remote store is asked for them at
the same time.
"""

import math
import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from spixgraph.arrays import Array, ShapeZYX
from spixgraph.io._axes import Layout
from spixgraph.io.source import Box

_CACHE_BYTES = 128 * 2**20
_VOLUME_ROWS = 128
"""Slices that a strip of a volume spans: a block of 64, and what it sees around."""


class ChunkReader:
    """Reads boxes of a Zarr array.

    Parameters
    ----------
    array : zarr.Array
    layout : Layout
    hang_together : bool
        False where slices are read one after the other, each whole.

    Attributes
    ----------
    held_bytes : int
        Most that is kept: two rows of chunks as wide as the image; where slices are read alone, but
        chunks are several slices deep, all rows of these. At most 128 MiB.
    """

    def __init__(self, array: Any, layout: Layout, *, hang_together: bool) -> None:
        self._array, self._layout = array, layout
        chunks = dict(zip(layout.axes, array.chunks, strict=True))
        self._n_zyx: ShapeZYX = layout.shape_zyxc[:3]
        z, y, x = (min(chunks.get(a, 1), n) for a, n in zip("ZYX", self._n_zyx, strict=True))
        self._chunk_zyx: ShapeZYX = (z, y, x)
        n_rows, n_layers = 2, 1
        if hang_together:
            n_layers = math.ceil(min(self._n_zyx[0], _VOLUME_ROWS) / z) + 1
        elif z > 1:
            n_rows = math.ceil(self._n_zyx[1] / y)
        self.held_bytes = min(_CACHE_BYTES, n_rows * n_layers * self._row_bytes(self._n_zyx[2]))
        self._rows: OrderedDict[tuple[int, int, int, int], Array] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def read(self, box: Box) -> Array:
        """Return (Z, Y, X, C) pixels as stored."""
        (z0, z1), (y0, y1), (x0, x1) = box
        deep, high, wide = self._chunk_zyx
        left, right = x0 // wide * wide, min(math.ceil(x1 / wide) * wide, self._n_zyx[2])
        if self._row_bytes(right - left) > self.held_bytes:
            return self._stored(box)
        shape = (z1 - z0, y1 - y0, x1 - x0, self._layout.size("C"))
        out = np.empty(shape, self._array.dtype)
        for z in range(z0 // deep * deep, z1, deep):
            for y in range(y0 // high * high, y1, high):
                row = self._row(z, y, left, right)
                to_z, of_z = _overlap(z0, z1, z, deep)
                to_y, of_y = _overlap(y0, y1, y, high)
                out[to_z, to_y] = row[of_z, of_y, x0 - left : x1 - left]
        return out

    def _row(self, z: int, y: int, left: int, right: int) -> Array:
        """Return a row of decoded chunks, from what is kept where it is there."""
        key = (z, y, left, right)
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
                return self._rows[key]
        deep, high, _ = self._chunk_zyx
        n_z, n_y, _ = self._n_zyx
        row = self._stored(((z, min(z + deep, n_z)), (y, min(y + high, n_y)), (left, right)))
        with self._lock:
            if key not in self._rows:
                self._rows[key] = row
                self._kept_bytes += row.nbytes
            while self._kept_bytes > self.held_bytes and len(self._rows) > 1:
                self._kept_bytes -= self._rows.popitem(last=False)[1].nbytes
        return row

    def _stored(self, box: Box) -> Array:
        index = self._layout.index(**{a: slice(*s) for a, s in zip("ZYX", box, strict=True)})
        return self._layout.to_zyxc(np.asarray(self._array[index]))

    def _row_bytes(self, width: int) -> int:
        deep, high, _ = self._chunk_zyx
        n_bytes = deep * high * width * self._layout.size("C") * self._array.dtype.itemsize
        return int(n_bytes)


def _overlap(start: int, stop: int, begin: int, size: int) -> tuple[slice, slice]:
    """Where ``begin .. begin + size`` lies in ``start .. stop``, and the other way round."""
    low, high = max(start, begin), min(stop, begin + size)
    return slice(low - start, high - start), slice(low - begin, high - begin)
