"""The barrier grid: fixed lines that no superpixel crosses; a part of the definition.

A block depends on its own pixels and a halo of `HALO_PX` around it, and on nothing else. So any
set of blocks, in any order, on any number of workers, gives what the whole image gives.
"""

from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import PixelSizeUm, ShapeZYX
from spixgraph.errors import InputError
from spixgraph.io.sample import slice_step

HALO_PX = 5
"""Two binomial passes of 2 px each and one central difference of 1 px."""
FINE_NODES_PER_MEGAPIXEL = 4000.0
BLOCK_PX, FINE_BLOCK_PX, BLOCK_VOXELS = 512, 256, 64
FLATNESS, FINE_FLATNESS = 0.4, 0.2

Box = tuple[slice, slice, slice]


def box_size(box: Box) -> ShapeZYX:
    """Return the length of a box along each axis."""
    z, y, x = (s.stop - s.start for s in box)
    return z, y, x


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

    def size(self, number: int) -> ShapeZYX:
        """Return the size of a block."""
        return box_size(self.box(number))

    def within(self, box: Box) -> list[int]:
        """Return the numbers, rising, of the blocks that start inside a box."""
        spans = [
            np.arange(-(-s.start // b), -(-s.stop // b))
            for s, b in zip(box, self.block_zyx, strict=True)
        ]
        places = np.meshgrid(*spans, indexing="ij")
        numbers: list[int] = np.ravel_multi_index(places, self.n_blocks_zyx).ravel().tolist()
        return numbers


@dataclass(frozen=True, slots=True)
class BasinPlan:
    """All that decides the superpixels of an image, besides its pixels.

    Attributes
    ----------
    grid : BarrierGrid
    channel_weights : tuple of float
        Each channel is scaled by its weight, so that noise is alike in all.
    merge_cost : float
        Regions merge as long as that costs less.
    compactness : float
        How much more a merge across a short border costs, see `merging`.
    """

    grid: BarrierGrid
    channel_weights: tuple[float, ...]
    merge_cost: float
    compactness: float = 0.0

    @property
    def flatness(self) -> float:
        """Gradients are rounded to this part of their median before basins are found.

        Noise then makes fewer basins. Small blocks are for many nodes, where each basin counts;
        volumes have few basins, some 7000 per million voxels, so nothing is rounded there.
        """
        if self.grid.is_volume:
            return 0.0
        return FLATNESS if self.grid.block_zyx[1] > FINE_BLOCK_PX else FINE_FLATNESS


def barrier_grid(
    shape_zyx: ShapeZYX,
    spacing_zyx: PixelSizeUm | None,
    nodes_per_megapixel: float,
    block_zyx: ShapeZYX | None = None,
) -> BarrierGrid:
    """Choose the grid for an image.

    512 px, or 256 px from 4000 nodes per megapixel on; 64 px cubes in a volume. Slices stand on
    their own in a 2D image, where the spacing is unknown, and where slices lie more than three
    in-plane pixels apart, as for the features of the graph. `block_zyx` puts another size in place,
    for tests.
    """
    edge = FINE_BLOCK_PX if nodes_per_megapixel >= FINE_NODES_PER_MEGAPIXEL else BLOCK_PX
    if slice_step(shape_zyx[0], spacing_zyx) is None:
        return BarrierGrid(shape_zyx, block_zyx or (1, edge, edge), is_volume=False)
    return BarrierGrid(shape_zyx, block_zyx or (BLOCK_VOXELS,) * 3, is_volume=True)
