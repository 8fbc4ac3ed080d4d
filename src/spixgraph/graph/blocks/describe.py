"""One block: from a tile of levels to a `BlockGraph`."""

from typing import Any, NamedTuple

import numpy as np

from spixgraph.arrays import Float32, Int32, Int64
from spixgraph.errors import InputError
from spixgraph.graph.blocks.block_graph import (
    DECILES,
    BlockGraph,
    node_feature_names,
    textures,
)
from spixgraph.graph.blocks.cells import add_cells
from spixgraph.graph.blocks.columns import write_moments, write_shape
from spixgraph.graph.blocks.contacts import Pairs, sort_contacts
from spixgraph.graph.blocks.octaves import Pyramid
from spixgraph.graph.blocks.plan import BlockPlace, BlockPlan
from spixgraph.graph.blocks.regions import (
    BAND_ZERO,
    N_BINS,
    Smoothed,
    add_pixels,
    add_places,
    list_runs,
    write_deciles,
)
from spixgraph.superpixels.basins.block import Basins, Workspace, label_block, list_contacts
from spixgraph.superpixels.basins.levels import TOP, UInt16


class Runs(NamedTuple):
    """Runs of one label along x."""

    labels: UInt16  # (Z, Y, X)
    end: Int32  # (n or more,), where each ends in the flat labels
    n: int
    places: Int64  # (superpixels, 11), of `regions.add_places`


def describe_block(tile: UInt16, place: BlockPlace, plan: BlockPlan, work: Workspace) -> BlockGraph:
    """Cut a block into superpixels and describe them.

    Parameters
    ----------
    tile : (C, Z', Y', X') uint16
        Levels of the block, grown to whole cells at its far end, with halo; see
        `BlockPlan.pad_tile`.
    place : BlockPlace
    plan : BlockPlan
    work : Workspace
        Of this thread.

    Raises
    ------
    InputError
        If the tile does not have the shape that the plan says.
    """
    tile = check_tile(tile, place, plan)
    labels, n, basins = label_block(tile, plan.halo_zyx, place.size_zyx, plan.basins, work)
    names = node_feature_names(len(tile), plan.n_octaves, is_volume=plan.is_volume)
    x = np.empty((n, len(names)), np.float32)
    runs = _runs(labels, n, place, work)
    places = runs.places
    totals = _describe_pixels(tile, basins, runs, plan, x, work)
    _describe_cells(tile, place, runs, plan, x, work)
    write_shape(places, place.shape_zyx[0] == 1, x, len(names) - 4)
    n_pixels = places[:, 0].copy()
    return BlockGraph(
        labels,
        x,
        places[:, 2:5] / n_pixels[:, None] + np.array(place.origin_zyx, np.float64),
        n_pixels,
        totals / (n_pixels[:, None] * float(TOP)),
        *_contacts(labels, basins.padded, n, work),
        _rims(basins.gradient, has_slices=place.shape_zyx[0] > 1),
    )


def check_tile(tile: UInt16, place: BlockPlace, plan: BlockPlan) -> UInt16:
    """Return the tile in C order, or refuse it."""
    wanted = (len(plan.basins.channel_weights), *plan.tile_shape(place.size_zyx))
    if tile.shape != wanted or tile.dtype != np.uint16:
        raise InputError(
            f"tile must be {wanted} uint16, got {tile.shape} {tile.dtype}; read "
            "BlockPlan.tile_box and complete it by BlockPlan.pad_tile"
        )
    return np.ascontiguousarray(tile)


def _runs(labels: UInt16, n: int, place: BlockPlace, work: Workspace) -> Runs:
    """List the runs of the labels, and sum up sizes and places."""
    end = work.array("run end", (labels.size,), np.int32)
    n_runs = list_runs(labels.reshape(-1, labels.shape[2]), end)
    places = np.zeros((n, 11), np.int64)
    origin, shape = (np.array(v, np.int64) for v in (place.origin_zyx, place.shape_zyx))
    add_places(labels, end, n_runs, origin, shape, places)
    return Runs(labels, end, n_runs, places)


def _describe_pixels(
    tile: UInt16, basins: Basins, runs: Runs, plan: BlockPlan, x: Float32, work: Workspace
) -> Int64:
    """Fill the columns that look at single pixels; return the sums of the channels, (n, C)."""
    n, n_channels, halo = len(x), len(tile), plan.halo_zyx
    n_planes = n_channels + 2
    weights = np.asarray(plan.basins.channel_weights, np.float32)
    smoothed = Smoothed(basins.padded, basins.once, weights)
    histogram = work.array("histogram", (n, n_channels, 2, N_BINS), np.int32)
    total = work.array("pixel total", (n, 2 * n_planes), np.int64)
    add_pixels(tile, halo[0], halo[1], smoothed, runs.labels, runs.end, histogram, total)
    zero, unit = np.zeros(n_planes), np.full(n_planes, float(TOP))
    zero[-1] = BAND_ZERO
    unit[-2:] = 2 * TOP, TOP * float(weights.sum()) / n_channels
    write_moments(total, runs.places, zero, unit, 0, x, 0)
    write_deciles(histogram, runs.places, x, 2 * n_planes)
    return total[:, :n_channels]


def _describe_cells(
    tile: UInt16, place: BlockPlace, runs: Runs, plan: BlockPlan, x: Float32, work: Workspace
) -> None:
    """Fill the columns of the octaves from 1 on."""
    n_channels = len(tile)
    first = 2 * (n_channels + 2) + len(DECILES) * n_channels
    for octave, maps in Pyramid(tile, place.size_zyx, plan, work).textures():
        n_maps = n_channels + len(textures(octave, plan.n_octaves, is_volume=plan.is_volume))
        n_padded = -(-n_maps // 4) * 4
        total = work.array("cell total", (len(x), 2 * n_padded), np.float64)
        total[...] = 0
        zero, unit = np.zeros(n_maps), np.full(n_maps, float(TOP))
        cell = plan.cell_zyx(octave)
        add_cells(runs.labels, runs.end, maps, cell[0], cell[1], total)
        write_moments(total, runs.places, zero, unit, n_channels, x, first)
        first += 2 * n_maps - n_channels


def _contacts(labels: UInt16, padded: UInt16, n: int, work: Workspace) -> Pairs:
    """Find the pairs of superpixels that touch, in order."""
    contacts, n_pairs = list_contacts(labels, padded, n, work)
    found = Pairs(
        np.empty((2, n_pairs), np.int64),
        np.empty(n_pairs, np.int64),
        np.empty(n_pairs, np.int64),
        np.empty(n_pairs, np.int32),
    )
    start, row = (
        work.array(f"pair {k}", (m,), np.int32) for k, m in (("u", n + 1), ("v", n_pairs))
    )
    sort_contacts(contacts, start, row, found)
    return found


def _rims(gradient: UInt16, *, has_slices: bool) -> Any:
    """Copy the outer planes of the gradient."""
    none = np.empty((0, 0), np.uint16)
    front, back = (gradient[0].copy(), gradient[-1].copy()) if has_slices else (none, none)
    sides = gradient[:, 0], gradient[:, -1], gradient[:, :, 0], gradient[:, :, -1]
    return front, back, *(side.copy() for side in sides)
