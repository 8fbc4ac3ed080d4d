"""The barrier grid: fixed lines that no superpixel crosses; a part of the definition.

A block depends on its own pixels and a halo of `HALO_PX` around it, and on nothing else. So any
set of blocks, in any order, on any number of workers, gives what the whole image gives.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from spixgraph.arrays import PixelSizeUm, ShapeZYX
from spixgraph.errors import InputError

HALO_PX = 5
"""Two binomial passes of 2 px each and one central difference of 1 px."""
MAX_SLICE_STEP = 3.0
FINE_NODES_PER_MEGAPIXEL = 4000.0

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class BarrierGrid:
    """Blocks that cover an image once, numbered in z, y, x order.

    Attributes
    ----------
    shape_zyx : three int
        Of the image.
    block_zyx : three int
        Of a block; the last ones may be smaller.
    is_volume : bool
        True where basins reach across slices; else each slice stands on its own and a block is
        one slice high.
    """

    shape_zyx: ShapeZYX
    block_zyx: ShapeZYX
    is_volume: bool

    def __post_init__(self) -> None:
        if min(self.shape_zyx) < 1 or min(self.block_zyx) < 1:
            raise InputError(f"shape {self.shape_zyx} and block {self.block_zyx} must be >= 1")
        n_voxels = int(np.prod(self.block_zyx))
        if n_voxels > 512 * 512 or (not self.is_volume and self.block_zyx[0] != 1):
            raise InputError(
                f"block {self.block_zyx} is too large: at most 512 x 512 pixels, in one slice "
                "unless it is a volume"
            )

    @property
    def n_blocks_zyx(self) -> ShapeZYX:
        """Number of blocks along each axis."""
        z, y, x = (-(-n // b) for n, b in zip(self.shape_zyx, self.block_zyx, strict=True))
        return z, y, x

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return int(np.prod(self.n_blocks_zyx))

    @property
    def halo_zyx(self) -> ShapeZYX:
        """What a block needs around it."""
        return (HALO_PX if self.is_volume else 0, HALO_PX, HALO_PX)

    def box(self, number: int) -> Box:
        """Return the place of a block in the image."""
        place = np.unravel_index(number, self.n_blocks_zyx)
        z, y, x = (
            slice(int(i) * b, min((int(i) + 1) * b, n))
            for i, b, n in zip(place, self.block_zyx, self.shape_zyx, strict=True)
        )
        return z, y, x

    def sample(self, n_wanted: int) -> list[int]:
        """Choose block numbers, one from each of `n_wanted` equal runs of the grid.

        The place in each run follows the golden ratio, so that no column of blocks is preferred.
        """
        if n_wanted >= self.n_blocks:
            return list(range(self.n_blocks))
        edges = [i * self.n_blocks // n_wanted for i in range(n_wanted + 1)]
        golden = (5**0.5 - 1) / 2
        return [a + int((i * golden) % 1 * (b - a)) for i, (a, b) in enumerate(pairwise(edges))]


def barrier_grid(
    shape_zyx: ShapeZYX, spacing_zyx: PixelSizeUm | None, nodes_per_megapixel: float
) -> BarrierGrid:
    """Choose the grid for an image.

    512 px, or 256 px from 4000 nodes per megapixel on; 64 px cubes in a volume. Slices stand on
    their own in a 2D image, where the spacing is unknown, and where slices lie more than three
    in-plane pixels apart, as for the features of the graph.
    """
    edge = 256 if nodes_per_megapixel >= FINE_NODES_PER_MEGAPIXEL else 512
    if shape_zyx[0] == 1 or spacing_zyx is None:
        return BarrierGrid(shape_zyx, (1, edge, edge), is_volume=False)
    z, y, x = spacing_zyx
    if z / (y * x) ** 0.5 > MAX_SLICE_STEP:
        return BarrierGrid(shape_zyx, (1, edge, edge), is_volume=False)
    return BarrierGrid(shape_zyx, (64, 64, 64), is_volume=True)
