"""All that a block needs to know of its image, and the box of pixels that it reads."""

from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import PixelSizeUm, ShapeZYX
from spixgraph.errors import InputError
from spixgraph.io.sample import slice_step as slice_step
from spixgraph.superpixels.basins.grid import BasinPlan, Box
from spixgraph.superpixels.basins.levels import UInt16

N_OCTAVES, N_OCTAVES_VOLUME = 5, 4
_REACH = 3
"""In cells of the last octave: a binomial pass of 2 and a difference. The one before reaches 6."""
_SPARED_STEP = 1.5


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a block lies.

    Attributes
    ----------
    origin_zyx, size_zyx : three int
        Of the block, without halo.
    shape_zyx : three int
        Of the image.
    """

    origin_zyx: ShapeZYX
    size_zyx: ShapeZYX
    shape_zyx: ShapeZYX


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """What decides labels and features of all blocks of an image, besides its pixels.

    Attributes
    ----------
    basins : BasinPlan
        Grid, channel weights and merge cost.
    z_step : float or None
        Of `slice_step`: a number in volumes, None where every slice stands on its own.
    n_octaves : int
        Octave o looks at cells of ``2**o`` pixels a side.

    Raises
    ------
    InputError
        If `n_octaves` is not 3..6, or `z_step` does not go with the grid.
    """

    basins: BasinPlan
    z_step: float | None
    n_octaves: int = N_OCTAVES

    def __post_init__(self) -> None:
        if not 3 <= self.n_octaves <= 6:
            raise InputError(f"n_octaves must be 3..6, got {self.n_octaves}")
        if self.is_volume != (self.z_step is not None):
            raise InputError(
                f"z_step={self.z_step} does not go with is_volume={self.is_volume}; take both from "
                "the pixel size (slice_step, barrier_grid)"
            )

    @property
    def is_volume(self) -> bool:
        """True where slices see each other."""
        return self.basins.grid.is_volume

    def cell_zyx(self, octave: int) -> ShapeZYX:
        """Size of a cell of an octave, in pixels.

        Along z, slices 1.5 pixels apart or more are left out of the first halving.
        """
        edge = 2**octave
        if self.z_step is None:
            return 1, edge, edge
        return (max(1, edge // 2) if self.z_step >= _SPARED_STEP else edge), edge, edge

    @property
    def halo_zyx(self) -> ShapeZYX:
        """What a tile holds around its block, in pixels: three of the coarsest cells."""
        z, y, x = self.cell_zyx(self.n_octaves - 1)
        return (_REACH * z if self.is_volume else 0), _REACH * y, _REACH * x

    def place(self, number: int) -> BlockPlace:
        """Return where block `number` lies."""
        z, y, x = self.basins.grid.box(number)
        size = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
        return BlockPlace((z.start, y.start, x.start), size, self.basins.grid.shape_zyx)

    def grown_zyx(self, size_zyx: ShapeZYX) -> ShapeZYX:
        """Round the size of a block up to whole cells of the coarsest octave."""
        cell = self.cell_zyx(self.n_octaves - 1)
        z, y, x = (-(-n // c) * c for n, c in zip(size_zyx, cell, strict=True))
        return z, y, x

    def cells(self, size_zyx: ShapeZYX, octave: int) -> ShapeZYX:
        """Cells of an octave along each axis of a grown block."""
        grown, cell = self.grown_zyx(size_zyx), self.cell_zyx(octave)
        z, y, x = (n // c for n, c in zip(grown, cell, strict=True))
        return z, y, x

    def tile_shape(self, size_zyx: ShapeZYX) -> ShapeZYX:
        """Shape of the tile of a block of this size: grown, with halo on both sides."""
        grown = self.grown_zyx(size_zyx)
        z, y, x = (n + 2 * h for n, h in zip(grown, self.halo_zyx, strict=True))
        return z, y, x

    def tile_box(self, number: int) -> Box:
        """Return what to read for block `number`, cut at the border of the image."""
        place = self.place(number)
        spans = zip(
            place.origin_zyx,
            self.grown_zyx(place.size_zyx),
            self.halo_zyx,
            place.shape_zyx,
            strict=True,
        )
        z, y, x = (slice(max(0, o - h), min(s, o + n + h)) for o, n, h, s in spans)
        return z, y, x

    def pad_tile(self, levels: UInt16, number: int) -> UInt16:
        """Repeat the border of the image outwards, where the tile reaches beyond it.

        Parameters
        ----------
        levels : (C, Z, Y, X) uint16
            The pixels of ``tile_box(number)``.
        number : int

        Returns
        -------
        (C, Z', Y', X') uint16
            As `describe.describe_block` wants it; `levels` itself where nothing is missing.
        """
        place, box = self.place(number), self.tile_box(number)
        shape = self.tile_shape(place.size_zyx)
        before = [
            h - (o - s.start) for o, h, s in zip(place.origin_zyx, self.halo_zyx, box, strict=True)
        ]
        after = [n - b - (s.stop - s.start) for n, b, s in zip(shape, before, box, strict=True)]
        if not any(before + after):
            return levels
        return np.pad(levels, [(0, 0), *zip(before, after, strict=True)], mode="edge")


def block_plan(basins: BasinPlan, pixel_size_um: PixelSizeUm | None) -> BlockPlan:
    """Make the plan of an image from that of its superpixels and its pixel size."""
    if not basins.grid.is_volume:
        return BlockPlan(basins, None, N_OCTAVES)
    return BlockPlan(basins, slice_step(basins.grid.shape_zyx[0], pixel_size_um), N_OCTAVES_VOLUME)
