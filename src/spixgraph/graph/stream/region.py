"""The blocks of a region of interest, in rows along x: the strips of the pass."""

from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Int64, ShapeZYX
from spixgraph.errors import InputError
from spixgraph.superpixels.basins.grid import BarrierGrid, Box

Roi = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Region:
    """Blocks of a grid; strip s is a row of blocks along x, strips are in (z, y) order.

    Attributes
    ----------
    grid : BarrierGrid
    z, y, x : range
        Of blocks.
    """

    grid: BarrierGrid
    z: range
    y: range
    x: range

    @property
    def n_strips(self) -> int:
        """Number of strips."""
        return len(self.z) * len(self.y)

    @property
    def box(self) -> Box:
        """Place in the image, in pixels."""
        first, last = self.number(0, 0), self.number(self.n_strips - 1, len(self.x) - 1)
        near, far = self.grid.box(first), self.grid.box(last)
        z, y, x = (slice(a.start, b.stop) for a, b in zip(near, far, strict=True))
        return z, y, x

    @property
    def shape_zyx(self) -> ShapeZYX:
        """Size in pixels."""
        z, y, x = (s.stop - s.start for s in self.box)
        return z, y, x

    @property
    def numbers(self) -> Int64:
        """Numbers in the grid of all blocks, in order."""
        _, n_y, n_x = self.grid.n_blocks_zyx
        z, y, x = np.ix_(self.z, self.y, self.x)
        return ((z * n_y + y) * n_x + x).ravel().astype(np.int64)

    def number(self, strip: int, k: int) -> int:
        """Return the number in the grid of block `k` of a strip."""
        _, n_y, n_x = self.grid.n_blocks_zyx
        z, y = self.z[strip // len(self.y)], self.y[strip % len(self.y)]
        return (z * n_y + y) * n_x + self.x[k]

    def above(self, strip: int) -> int | None:
        """Return the strip before along y, if it is there."""
        return strip - 1 if strip % len(self.y) else None

    def behind(self, strip: int) -> int | None:
        """Return the strip before along z, if it is there."""
        return strip - len(self.y) if strip >= len(self.y) else None

    def touching(self, strip: int) -> list[int]:
        """Return the strip and those that its superpixels touch, rising."""
        n_y = len(self.y)
        found = {strip, strip - n_y, strip + n_y}
        found |= {strip - 1} if strip % n_y else set()
        found |= {strip + 1} if (strip + 1) % n_y else set()
        return sorted(s for s in found if 0 <= s < self.n_strips)


def region_of(grid: BarrierGrid, roi: Roi | None) -> Region:
    """Find the blocks of a region of interest.

    Raises
    ------
    InputError
        If it is empty, or starts or ends neither on a barrier nor at the border of the image.
    """
    spans = roi or (slice(None), slice(None), slice(None))
    ranges = [
        _block_range(axis, span, size, block)
        for axis, span, size, block in zip(
            "zyx", spans, grid.shape_zyx, grid.block_zyx, strict=True
        )
    ]
    return Region(grid, *ranges)


def _block_range(axis: str, span: slice, size: int, block: int) -> range:
    start, stop, step = span.indices(size)
    aligned = start % block == 0 and (stop % block == 0 or stop == size)
    if step != 1 or stop <= start or not aligned:
        raise InputError(
            f"region of interest {axis} {span.start}:{span.stop} of {size} px must start and end "
            f"on multiples of {block} px or at the border of the image"
        )
    return range(start // block, -(-stop // block))
