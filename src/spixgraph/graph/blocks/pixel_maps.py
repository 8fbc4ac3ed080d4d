"""What the pixel decoder sees of a block: the filters of the node features at full resolution."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from spixgraph.arrays import Float32
from spixgraph.graph.blocks.describe import check_tile
from spixgraph.graph.blocks.filters import scale_block, write_edges, write_level
from spixgraph.graph.blocks.octaves import Octave, Pyramid
from spixgraph.graph.blocks.plan import BlockPlace, BlockPlan
from spixgraph.graph.blocks.pyramid import stretch
from spixgraph.superpixels.basins.block import Workspace
from spixgraph.superpixels.basins.levels import TOP, UInt16

STRIP_ROWS = 32
"""Rows of a strip; even, since two rows have one row of cells."""
_EDGES = ("gradient", "band", "hessian_low", "hessian_high")
_VOLUME_EDGES = ("gradient", "band", "hessian_low", "hessian_mid", "hessian_high")


def pixel_map_names(n_channels: int, n_octaves: int, *, is_volume: bool) -> tuple[str, ...]:
    """Name the maps: ``c0_intensity`` ..., then by octave the smoothed channels and the edges.

    Those are `_EDGES`, in a volume `_VOLUME_EDGES`.
    """
    names = [f"c{c}_intensity" for c in range(n_channels)]
    for octave in range(_n_octaves(n_octaves)):
        names += [f"c{c}_smooth_{octave}" for c in range(n_channels)]
        names += [f"{name}_{octave}" for name in (_VOLUME_EDGES if is_volume else _EDGES)]
    return tuple(names)


def _n_octaves(n_octaves: int) -> int:
    """Octaves that are shown: three, where the halo is wide enough for them."""
    return min(3, n_octaves - 1)


def pixel_maps(tile: UInt16, place: BlockPlace, plan: BlockPlan, work: Workspace) -> Float32:
    """Filter a block at several scales, and interpolate to every pixel.

    Parameters
    ----------
    tile, place, plan, work
        As for `describe.describe_block`.

    Returns
    -------
    (P, Z, Y, X) float32
        Maps of `pixel_map_names` over the block itself; a new array. Intensities are 0..1, slopes
        per cell of their octave.

    Raises
    ------
    InputError
        If the tile does not have the shape that the plan says.
    """
    filtered = FilteredBlock(tile, place, plan, work)
    maps = np.empty((filtered.n_maps, *place.size_zyx), np.float32)
    filtered.write(slice(0, place.size_zyx[1]), maps)
    return maps


class FilteredBlock:
    """A block at several scales, of which `pixel_maps` are made some rows at a time.

    Maps of all rows do not fit in a cache: written and read again they take longer than to make.

    Parameters
    ----------
    tile, place, plan, work
        As for `describe.describe_block`. What is kept lies in `work`, until the next block.
    """

    def __init__(self, tile: UInt16, place: BlockPlace, plan: BlockPlan, work: Workspace) -> None:
        self._tile = check_tile(tile, place, plan)
        self._size, self._plan, self._work = place.size_zyx, plan, work
        self._n_each = len(tile) + len(_VOLUME_EDGES if plan.is_volume else _EDGES)
        names = pixel_map_names(len(tile), plan.n_octaves, is_volume=plan.is_volume)
        self.n_maps = len(names)
        pyramid = Pyramid(tile, place.size_zyx, plan, work)
        octaves = pyramid.octaves(range(1, _n_octaves(plan.n_octaves)), margin=1)
        self._coarse = [self._coarse_maps(octave) for octave in octaves]
        self._fine = next(pyramid.octaves(range(1)))

    def strips(self) -> Iterator[tuple[slice, Float32]]:
        """Yield rows, and their maps (P, Z, rows, X), which live until the next ones.

        A block of several slices is one strip: part of it would not lie in one piece.
        """
        n_z, n_y, n_x = self._size
        step = STRIP_ROWS if n_z == 1 else n_y
        for y in range(0, n_y, step):
            rows = slice(y, min(y + step, n_y))
            shape = (self.n_maps, n_z, rows.stop - y, n_x)
            maps = self._work.array("strip of maps", shape, np.float32)
            self.write(rows, maps)
            yield rows, maps

    def write(self, rows: slice, out: Float32) -> None:
        """Write the maps of all rows, or of some that begin at a multiple of `STRIP_ROWS`."""
        halo = self._plan.halo_zyx
        for channel, to in zip(self._tile, out, strict=False):
            scale_block(channel[:, rows.start :], halo[0], halo[1], float(TOP), to)
        first = len(self._tile)
        _write_maps(_rows_of(self._fine, rows), out[first : first + self._n_each])
        for values in self._coarse:
            first += self._n_each
            for value, to in zip(values, out[first : first + self._n_each], strict=True):
                stretch(value[:, rows.start // 2 : -(-rows.stop // 2) + 2], 0, to)

    def _coarse_maps(self, octave: Octave) -> Float32:
        """Make the maps of an octave, with a margin of one cell; they get the cells of octave 1."""
        name = f"coarse maps {octave.number}"
        maps = self._work.array(name, (self._n_each, *octave.shape), np.float32)
        _write_maps(octave, maps)
        deep = int(self._plan.is_volume)
        for finer in range(octave.number - 1, 0, -1):
            z, y, x = self._plan.cells(self._size, finer)
            shape = (self._n_each, z + 2 * deep, y + 2, x + 2)
            wider = self._work.array(f"{name} at {finer}", shape, np.float32)
            for values, to in zip(maps, wider, strict=True):
                stretch(values, 1, to)
            maps = wider
        return maps


def _rows_of(octave: Octave, rows: slice) -> Octave:
    """Take some rows of octave 0."""
    near, wide = (slice(rows.start, rows.stop + 2 * reach) for reach in (1, 3))
    z, _, x = octave.shape
    return replace(
        octave,
        shape=(z, rows.stop - rows.start, x),
        once=octave.once[:, :, wide],
        twice=octave.twice[:, :, near],
        grey_once=octave.grey_once[:, wide],
        grey_twice=octave.grey_twice[:, near],
        steep=octave.steep[:, rows],
    )


def _write_maps(octave: Octave, out: Float32) -> None:
    """Write smoothed channels and what `_EDGES` or `_VOLUME_EDGES` names, (C + E, Z, Y, X)."""
    n_channels = len(octave.twice)
    deep = (len(octave.grey_twice) - octave.shape[0]) // 2
    for twice, to in zip(octave.twice, out, strict=False):
        write_level(twice, deep, float(TOP), to)
    share = np.float32(1 / n_channels)
    grey = octave.grey_once, octave.grey_twice
    write_edges(*grey, octave.steep, octave.z_slope, share, float(TOP), out[n_channels:])
