"""Strips of a lazy image as integer levels: every row is read once, the halo is kept."""

import numpy as np
import numpy.typing as npt

from spixgraph.arrays import Array, Float64, ShapeZYX
from spixgraph.graph.engine_block import ALIGN_PX, FEATURE_HALO_PX
from spixgraph.graph.engine_kernels import look_up
from spixgraph.io.images import ArraySource
from spixgraph.io.limits import read_scaled
from spixgraph.io.source import ImageSource
from spixgraph.superpixels.basins.grid import Box
from spixgraph.superpixels.basins.levels import to_levels

UInt16 = npt.NDArray[np.uint16]


class Levels:
    """Turns stored pixels into levels 0..32767 by image-wide limits; a `LevelSource`.

    uint8 and uint16 go through a table of all their values, made by the same formula as floats.
    """

    def __init__(self, source: ImageSource, limits: Float64) -> None:
        self._source, self._limits = source, limits
        z, y, x, self.n_channels = source.info.shape_zyxc
        self.shape_zyx: ShapeZYX = (z, y, x)
        self._table: UInt16 | None = None
        if source.info.dtype.kind == "u":
            values = np.arange(np.iinfo(source.info.dtype).max + 1, dtype=source.info.dtype)
            ramp = np.broadcast_to(
                values[None, None, :, None], (1, 1, values.size, self.n_channels)
            )
            self._table = np.ascontiguousarray(self._scaled(ramp)[:, 0, 0])

    def _scaled(self, pixels: Array) -> UInt16:
        whole = (slice(None), slice(None), slice(None))
        return to_levels(read_scaled(ArraySource(pixels), self._limits, *whole))

    def of(self, pixels: Array) -> UInt16:
        """Levels (C, Y, X) of stored pixels (Y, X, C)."""
        if self._table is None:
            return self._scaled(pixels[None])[:, 0]
        out = np.empty((pixels.shape[2], *pixels.shape[:2]), np.uint16)
        look_up(np.ascontiguousarray(pixels), self._table, out)
        return out

    def read(self, box: Box) -> UInt16:
        """See `LevelSource`."""
        pixels = self._source.read(*box)
        return np.stack([self.of(plane) for plane in pixels], axis=1)


class RowReader:
    """Gives the levels of one strip after the other, with their halo; reads each row once.

    Parameters
    ----------
    source : ImageSource
        Of one slice.
    levels : Levels
    rows, columns : range
        What is wanted of the image; the halo reaches beyond where the image does.
    """

    def __init__(self, source: ImageSource, levels: Levels, rows: range, columns: range) -> None:
        self._source, self._levels = source, levels
        self._n_y, self._n_x = source.info.shape_zyxc[1:3]
        self._x0 = max(0, columns.start - FEATURE_HALO_PX)
        self._columns = columns
        self._next = max(0, rows.start - FEATURE_HALO_PX)
        self._kept: Array | None = None
        self._kept_from = self._next

    def strip(self, y0: int, y1: int) -> UInt16:
        """Levels (C, Y', X') of rows y0..y1 with halo, the image border repeated outwards."""
        top, bottom = (
            max(0, y0 - FEATURE_HALO_PX),
            min(self._n_y, _aligned(y1 - y0) + y0 + FEATURE_HALO_PX),
        )
        x1 = min(self._n_x, self._x_end())
        parts = [] if self._kept is None else [self._kept]
        if bottom > self._next:
            block = self._source.read(slice(0, 1), slice(self._next, bottom), slice(self._x0, x1))
            parts.append(block[0])
            self._next = bottom
        pixels = np.concatenate(parts) if len(parts) > 1 else parts[0]
        pixels = pixels[top - self._kept_from :]
        keep_from = max(top, y1 - FEATURE_HALO_PX)
        self._kept, self._kept_from = pixels[keep_from - top :].copy(), keep_from
        levels = self._levels.of(pixels)
        above = FEATURE_HALO_PX - (y0 - top)
        below = _aligned(y1 - y0) + 2 * FEATURE_HALO_PX - above - len(pixels)
        left = FEATURE_HALO_PX - (self._columns.start - self._x0)
        right = _aligned(len(self._columns)) + 2 * FEATURE_HALO_PX - left - pixels.shape[1]
        return np.pad(levels, ((0, 0), (above, below), (left, right)), mode="edge")

    def _x_end(self) -> int:
        return self._columns.start + _aligned(len(self._columns)) + FEATURE_HALO_PX


def _aligned(n: int) -> int:
    return -(-n // ALIGN_PX) * ALIGN_PX
