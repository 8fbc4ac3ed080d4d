"""One block of a streamed image: labels, node features, contacts and borders."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from spixgraph.arrays import Float32, Float64, Int32, Int64
from spixgraph.graph.engine_kernels import (
    add_histogram,
    add_places,
    add_values,
    difference_and_gradient,
    find_deciles,
    halve,
)
from spixgraph.graph.features import DECILES, node_features
from spixgraph.graph.sums import N_BINS, RegionSums
from spixgraph.superpixels.basins.block import (
    Basins,
    Workspace,
    find_basins,
    merge_basins,
    smooth_channel,
)
from spixgraph.superpixels.basins.levels import TOP
from spixgraph.superpixels.basins.merging import rename_pixels

N_OCTAVES = 3
ALIGN_PX = 2 ** (N_OCTAVES - 1)
"""A tile is a multiple of this long, counted from the block; the last coarse pixel is whole."""
FEATURE_HALO_PX = 5 * ALIGN_PX
"""Five pixels of the last octave: two binomial passes and a central difference."""
LABEL_HALO_ZYX = (0, 5, 5)
UInt16 = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class BlockGraph:
    """What a block hands on; node ids are those of the block.

    Attributes
    ----------
    labels : (Y, X) uint16
    x : (n, F) float32
    names : tuple of str
    centroid_px : (n, 3) float64
        Of the whole image.
    n_pixels : (n,) int64
    intensity : (n, C) float64
    pairs : (2, P) int64
        Ids u < v of touching superpixels, sorted.
    length_px, gradient_sum : (P,) int64
    rim : dict of (n,) int32
        Gradients along the ``top``, ``bottom``, ``left`` and ``right`` border.
    """

    labels: UInt16
    x: Float32
    names: tuple[str, ...]
    centroid_px: Float64
    n_pixels: Int64
    intensity: Float64
    pairs: Int64
    length_px: Int64
    gradient_sum: Int64
    rim: dict[str, Int32]


def block_graph(
    tile: UInt16,
    block_yx: tuple[int, int],
    origin_yx: tuple[int, int],
    shape_yx: tuple[int, int],
    weights: tuple[float, ...],
    merge_cost: float,
    work: Workspace,
) -> BlockGraph:
    """Cut a block into superpixels and describe them.

    Parameters
    ----------
    tile : (C, Y', X') uint16
        Levels of the block, made a multiple of `ALIGN_PX` long at its end, with a halo of
        `FEATURE_HALO_PX` each way.
    block_yx : two int
        Size of the block itself.
    origin_yx, shape_yx : two int
        Place of the block in the image, and shape of the image.
    weights : tuple of float
        Of the channels, for the superpixels alone.
    merge_cost : float
    work : Workspace
    """
    h = FEATURE_HALO_PX
    near = tile[:, None, h - 5 : h + block_yx[0] + 5, h - 5 : h + block_yx[1] + 5]
    basins = find_basins(_weighed(near, weights), LABEL_HALO_ZYX, work)
    n = merge_basins(basins.graph, merge_cost, work)
    rename_pixels(basins.labels.reshape(-1), basins.graph.regions.parent)
    labels = basins.labels[0]
    sums = _sums(tile, labels, n, origin_yx, shape_yx, work)
    x, names = _features(sums)
    pairs, length, steep = _contacts(basins)
    gradient = basins.gradient[0]
    lines = {
        "top": gradient[0],
        "bottom": gradient[-1],
        "left": gradient[:, 0],
        "right": gradient[:, -1],
    }
    rim = {side: line.astype(np.int32) for side, line in lines.items()}
    return BlockGraph(
        labels.astype(np.uint16),
        x,
        names,
        sums.centroid_px(),
        sums.n_pixels,
        np.stack([sums.mean(f"c{i}_intensity") for i in range(len(tile))], axis=1),
        pairs,
        length,
        steep,
        rim,
    )


def _features(sums: RegionSums) -> tuple[Float32, tuple[str, ...]]:
    """Node features as `node_features`, with the deciles last and from a compiled pass."""
    x, names = node_features(replace(sums, histogram=sums.histogram[:0]), is_2d=True)
    columns = [x.T]
    for i, histogram in enumerate(sums.histogram):
        deciles = np.empty((len(DECILES), len(histogram)))
        find_deciles(histogram, deciles)
        columns.append(deciles.astype(np.float32))
        names += tuple(f"c{i}_decile_{decile}" for decile in DECILES)
    return np.ascontiguousarray(np.concatenate(columns).T), names


def _weighed(tile: UInt16, weights: tuple[float, ...]) -> UInt16:
    """Scale the channels; a copy."""
    if set(weights) == {1.0}:
        return tile
    factor = np.asarray(weights, np.float32)[:, None, None, None]
    return np.rint(tile * factor).astype(np.uint16)


def _contacts(basins: Basins) -> tuple[Int64, Int64, Int64]:
    """Read the contacts that are left, named by superpixels and sorted."""
    graph = basins.graph
    key = graph.contacts.key[: graph.n_contacts]
    border = graph.contacts.border[: graph.n_contacts].astype(np.int64)
    name = graph.regions.parent.astype(np.int64)
    pairs = np.stack(
        [name[key >> np.uint64(16) & np.uint64(0xFFFF)], name[key & np.uint64(0xFFFF)]]
    )
    pairs.sort(axis=0)
    order = np.lexsort(pairs[::-1])
    return pairs[:, order], (border >> 40)[order], (border & ((1 << 40) - 1))[order]


def _sums(
    tile: UInt16,
    labels: Int32,
    n: int,
    origin_yx: tuple[int, int],
    shape_yx: tuple[int, int],
    work: Workspace,
) -> RegionSums:
    """Add up intensities, octaves and places; integers until the end."""
    h = FEATURE_HALO_PX
    places = np.zeros((7, n), np.int64)
    add_places(labels, *origin_yx, *shape_yx, places)
    names: list[str] = []
    total: list[Int64] = []
    square: list[Int64] = []
    histogram = np.zeros((len(tile), n, N_BINS), np.int32)

    for i, channel in enumerate(tile):
        core = work.array("core", (1, *labels.shape), np.int32)
        core[0] = channel[h : h + labels.shape[0], h : h + labels.shape[1]]
        add_histogram(labels, core[0], 9, histogram[i])
        _add(core, 0, labels, n, total, square)
        names.append(f"c{i}_intensity")
    grey = tile[0] if len(tile) == 1 else tile.mean(axis=0, dtype=np.float32).astype(np.uint16)
    for octave in range(N_OCTAVES):
        _add(_octave(grey, octave, labels.shape, work), octave, labels, n, total, square)
        names += [f"gradient_{octave}", f"band_{octave}"]
    tops = np.array([TOP] * len(tile) + [2 * TOP, TOP] * N_OCTAVES, np.float64)[:, None]
    zero = np.zeros(n, np.int64)
    return RegionSums(
        places[0],
        places[1],
        np.stack([zero, places[2], places[3]]),
        np.stack([zero, zero, zero, places[4], places[5], places[6]]),
        histogram,
        tuple(names),
        np.concatenate(total) / tops,
        np.concatenate(square) / tops**2,
    )


def _add(
    values: Int32,
    octave: int,
    labels: Int32,
    n_regions: int,
    total: list[Int64],
    square: list[Int64],
) -> None:
    """Append the sums of (P, Y', X') values, and of their squares, to two lists."""
    both = np.zeros((2, len(values), n_regions), np.int64)
    add_values(labels, values, octave, both[0], both[1])
    total.append(both[0])
    square.append(both[1])


def _octave(grey: UInt16, octave: int, shape_yx: tuple[int, ...], work: Workspace) -> Int32:
    """Gradient and band-pass (2, Y', X') of one octave, over the block alone."""
    level = np.ascontiguousarray(grey)[None]
    for _ in range(octave):
        half = np.empty((1, level.shape[1] // 2, level.shape[2] // 2), np.uint16)
        halve(level, half)
        level = half
    once = smooth_channel(level, work, "once", is_volume=False)
    twice = smooth_channel(once, work, "twice", is_volume=False)
    skip = FEATURE_HALO_PX // 2**octave - 5
    n_y, n_x = (-(-n // ALIGN_PX) * ALIGN_PX // 2**octave for n in shape_yx)
    maps: Int32 = work.array("maps", (2, n_y, n_x), np.int32)
    difference_and_gradient(
        np.ascontiguousarray(once[:, skip : skip + n_y + 6, skip : skip + n_x + 6]),
        np.ascontiguousarray(twice[:, skip : skip + n_y + 2, skip : skip + n_x + 2]),
        maps[1],
        maps[0],
    )
    return maps
