"""What the pixel decoder sees of a block: the filters of the node features at full resolution."""

import numpy as np

from spixgraph.arrays import Float32, ShapeZYX
from spixgraph.graph.blocks.describe import check_tile
from spixgraph.graph.blocks.filters import scale_block, write_edges, write_level
from spixgraph.graph.blocks.octaves import Octave, Pyramid
from spixgraph.graph.blocks.plan import BlockPlace, BlockPlan
from spixgraph.graph.blocks.pyramid import stretch
from spixgraph.superpixels.basins.block import Workspace
from spixgraph.superpixels.basins.levels import TOP, UInt16

_EDGES = ("gradient", "band", "hessian_low", "hessian_high")


def pixel_map_names(n_channels: int, n_octaves: int) -> tuple[str, ...]:
    """Name the maps: ``c0_intensity`` ..., then by octave the smoothed channels and `_EDGES`."""
    names = [f"c{c}_intensity" for c in range(n_channels)]
    for octave in range(_n_octaves(n_octaves)):
        names += [f"c{c}_smooth_{octave}" for c in range(n_channels)]
        names += [f"{name}_{octave}" for name in _EDGES]
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
    tile = check_tile(tile, place, plan)
    names = pixel_map_names(len(tile), plan.n_octaves)
    maps = np.empty((len(names), *place.size_zyx), np.float32)
    halo = plan.halo_zyx
    for channel, out in zip(tile, maps, strict=False):
        scale_block(channel, halo[0], halo[1], float(TOP), out)
    pyramid = Pyramid(tile, place.size_zyx, plan, work)
    first, n_each = len(tile), len(tile) + len(_EDGES)
    for octave in pyramid.octaves(range(1)):
        _write_maps(octave, maps[first : first + n_each])
    for octave in pyramid.octaves(range(1, _n_octaves(plan.n_octaves)), margin=1):
        first += n_each
        coarse = work.array("coarse maps", (n_each, *octave.shape), np.float32)
        _write_maps(octave, coarse)
        for values, out in zip(coarse, maps[first : first + n_each], strict=True):
            _stretch(values, octave.number, place.size_zyx, plan, work, out)
    return maps


def _write_maps(octave: Octave, out: Float32) -> None:
    """Write smoothed channels and what `_EDGES` names, (C + 4, Z, Y, X)."""
    n_channels = len(octave.twice)
    deep = (len(octave.grey_twice) - octave.shape[0]) // 2
    for twice, to in zip(octave.twice, out, strict=False):
        write_level(twice, deep, float(TOP), to)
    share = np.float32(1 / n_channels)
    grey = octave.grey_once, octave.grey_twice
    write_edges(*grey, octave.steep, share, float(TOP), out[n_channels:])


def _stretch(
    values: Float32, octave: int, size: ShapeZYX, plan: BlockPlan, work: Workspace, out: Float32
) -> None:
    """Interpolate a map of an octave, with a margin of one cell, octave by octave."""
    deep = int(plan.is_volume)
    for finer in range(octave - 1, 0, -1):
        z, y, x = plan.cells(size, finer)
        to = work.array(f"stretched {finer}", (z + 2 * deep, y + 2, x + 2), np.float32)
        stretch(values, 1, to)
        values = to
    stretch(values, 0, out)
