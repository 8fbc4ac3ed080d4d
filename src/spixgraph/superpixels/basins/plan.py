"""What is decided once per image, by image-wide statistics: the grid, channel weights, the cost.

With the plan in hand every block stands on its own, and the blocks of one plan fit together. The
statistics come from a sample that depends on the shape of the image alone.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from spixgraph.arrays import PixelSizeUm, ShapeZYX
from spixgraph.errors import InputError
from spixgraph.io.sample import SPREAD_PX, sample_boxes, spread_parts
from spixgraph.superpixels.basins.block import (
    BasinGraph,
    Workspace,
    find_basins,
    merge_basins,
)
from spixgraph.superpixels.basins.grid import BarrierGrid, BasinPlan, Box, barrier_grid, box_size
from spixgraph.superpixels.basins.jit import announce
from spixgraph.superpixels.basins.levels import (
    TOP,
    LevelSource,
    read_with_halo,
)
from spixgraph.superpixels.basins.merging import merge

_MANY_BLOCKS = 64
_CUT_PX = 3 << 21
TOLERANCE = 0.01
_TRUSTED = 0.05
_MAX_LOG_COST = 56.0
_MAX_STEPS = 24
_THINNING = 8
_MOST_COMPACT, _ROUGH = 2.0, 0.15
_LARGE, _SMALL = 1000.0, 1500.0
"""Superpixels per megapixel up to which they are made compact, and from which they are not."""
_ROUGH_GRAPHS = 16
_SLOPE = 0.5  # superpixels fall roughly as the root of the merge cost
_MIN_NOISE, _MIN_WEIGHT = 8, 1 / 8


def make_plan(
    source: LevelSource,
    *,
    nodes_per_megapixel: float,
    spacing_zyx: PixelSizeUm | None = None,
    workers: int = 1,
    block_zyx: ShapeZYX | None = None,
) -> BasinPlan:
    """Choose the grid, the channel weights and the merge cost for a wanted number of superpixels.

    Parameters
    ----------
    source : LevelSource
    nodes_per_megapixel : float
        Wanted superpixels per million pixels (voxels in 3D), > 0.
    spacing_zyx : three floats, optional
        Pixel distances; None is unknown. See `grid.barrier_grid`.
    workers : int
        Threads; the plan does not depend on it.
    block_zyx : three int, optional
        Size of barrier blocks other than the definition's, for tests.

    Notes
    -----
    The number of superpixels falls as the merge cost rises; the search ends within 1 % of the
    wanted number in the blocks of a small image, and in parts of a larger one, see `cut_boxes`;
    there, the last step from within 5 % is taken as right.
    An image that has fewer basins than wanted superpixels is not merged at all (cost 0), and each
    block holds at least one superpixel: flat images get fewer than wanted, tiny ones more.

    Raises
    ------
    InputError
        If `nodes_per_megapixel` or `workers` is not > 0.
    """
    if not nodes_per_megapixel > 0 or workers < 1:
        raise InputError(
            f"nodes_per_megapixel={nodes_per_megapixel}, workers={workers} must both be > 0"
        )
    announce(merge)
    grid = barrier_grid(source.shape_zyx, spacing_zyx, nodes_per_megapixel, block_zyx)
    boxes = cut_boxes(grid, sample_boxes(source.shape_zyx, spacing_zyx))
    weights = _channel_weights(source, boxes)
    plan = BasinPlan(grid, weights, 0.0)
    with ThreadPoolExecutor(workers) as pool:
        sample = _Sample(plan, source, boxes, _Team(pool, workers), nodes_per_megapixel)
        n_wanted = nodes_per_megapixel * sample.n_pixels / 1e6
        return BasinPlan(grid, weights, _find_cost(sample, n_wanted), sample.compactness)


def cut_boxes(grid: BarrierGrid, sample: list[Box]) -> list[Box]:
    """Return what of a sample is cut: blocks of a small image and of volumes, else its parts.

    Above 8 megapixels an image that is its own sample is cut in 6 megapixels of parts. A part of
    256 pixels has a few more superpixels than it has of a larger block: two per cent at 1000 per
    megapixel.
    """
    if not grid.is_volume and len(sample) > 1:
        return sample
    if not grid.is_volume and math.prod(grid.shape_zyx) > SPREAD_PX:
        return spread_parts(grid.shape_zyx, _CUT_PX)
    return [grid.box(number) for box in sample for number in grid.within(box)]


def _channel_weights(source: LevelSource, boxes: list[Box]) -> tuple[float, ...]:
    """Weigh each channel by the least noise of all channels over its own noise, 1/8 at least.

    Noise is the median of ``|4 v - neighbours|`` in the sample, after Immerkaer (1996).
    """
    if source.n_channels == 1:
        return (1.0,)
    counts = np.zeros((source.n_channels, 4 * TOP + 1), np.int64)
    for box in boxes:
        tile = source.read(box).astype(np.int32)
        around = tile[:, :, :-2, 1:-1] + tile[:, :, 2:, 1:-1]
        around += tile[:, :, 1:-1, :-2] + tile[:, :, 1:-1, 2:]
        rough = np.abs(4 * tile[:, :, 1:-1, 1:-1] - around)
        for channel, values in zip(counts, rough, strict=True):
            channel += np.bincount(values.ravel(), minlength=channel.size)
    below = counts.cumsum(axis=1)
    noise = np.maximum((below < below[:, -1:] / 2).sum(axis=1), _MIN_NOISE)
    return tuple(np.maximum(noise.min() / noise, _MIN_WEIGHT).tolist())


class _Team:
    """Threads with a workspace each, which outlives a call."""

    def __init__(self, pool: ThreadPoolExecutor, workers: int) -> None:
        self._pool, self._spaces = pool, [Workspace() for _ in range(workers)]

    def map(self, function: Callable[[Any, Workspace], Any], items: Sequence[Any]) -> list[Any]:
        """Call a function with each item; threads help themselves, items are short work."""
        found: list[Any] = [None] * len(items)
        numbers = itertools.count()

        def help_yourself(work: Workspace) -> None:
            while (i := next(numbers)) < len(items):
                found[i] = function(items[i], work)

        for done in [self._pool.submit(help_yourself, work) for work in self._spaces]:
            done.result()
        return found


class _Sample:
    """Basins of the sample blocks, kept so that many merge costs can be tried."""

    def __init__(
        self,
        plan: BasinPlan,
        source: LevelSource,
        boxes: list[Box],
        team: _Team,
        nodes_per_megapixel: float,
    ) -> None:
        self._team = team
        self._sizes = [math.prod(box_size(box)) for box in boxes]
        self.n_blocks, self.n_pixels = len(boxes), sum(self._sizes)

        def graph_of(box: Box, work: Workspace) -> BasinGraph:
            halo = plan.grid.halo_zyx
            tile = read_with_halo(source, box, halo)
            return find_basins(tile, halo, box_size(box), plan, work).graph.copy()

        self._graphs: list[BasinGraph] = team.map(graph_of, boxes)
        self.n_basins = sum(graph.n_regions for graph in self._graphs)
        self.compactness = 0.0
        if not plan.grid.is_volume and nodes_per_megapixel < _SMALL:
            share = min(1.0, (_SMALL - nodes_per_megapixel) / (_SMALL - _LARGE))
            self.compactness = round(share * _compactness(self._graphs), 3)

    def count(self, merge_cost: float, thinning: int) -> float:
        """Count the superpixels at `merge_cost`, from every `thinning`-th block."""

        def count_one(graph: BasinGraph, work: Workspace) -> int:
            return merge_basins(graph.load(work), merge_cost, self.compactness, work)

        n_found = sum(self._team.map(count_one, self._graphs[::thinning]))
        return n_found * self.n_pixels / sum(self._sizes[::thinning])


def _compactness(graphs: list[BasinGraph]) -> float:
    """Choose how compact large superpixels are, by how rough the image is within its basins.

    Rough is the median gradient of the basins over the standard deviation of their means. Where
    it is small, what is seen is far larger than a pixel and its border may be faint: compact
    superpixels lose less there. Where it is large, thin things fill the image, and superpixels
    may be as long as these. Some graphs are enough.
    """
    graphs = graphs[:: max(1, len(graphs) // _ROUGH_GRAPHS)]
    n_pixels = np.concatenate([graph.regions.n_pixels for graph in graphs]).astype(np.float64)
    total = np.concatenate([graph.regions.total for graph in graphs])
    mean = total / n_pixels[:, None]
    spread = mean[:, :-1] - np.average(mean[:, :-1], axis=0, weights=n_pixels)
    variance = np.average((spread**2).sum(axis=1), weights=n_pixels)
    rising = mean[:, -1].argsort(kind="stable")
    middle = np.searchsorted(n_pixels[rising].cumsum(), n_pixels.sum() / 2)
    rough = mean[rising[middle], -1] / math.sqrt(variance) if variance > 0 else math.inf
    return float(_MOST_COMPACT / (1 + (rough / _ROUGH) ** 4))


def _find_cost(sample: _Sample, n_wanted: float) -> float:
    """Search the merge cost, first on a part of the sample, then on all of it."""
    if sample.n_basins <= n_wanted * (1 + TOLERANCE):
        return 0.0
    start = _MAX_LOG_COST / 2
    if sample.n_blocks < _MANY_BLOCKS:
        return 2.0 ** _search(sample, n_wanted, start, 1)
    start = _search(sample, n_wanted, start, _THINNING)
    return 2.0 ** _search(sample, n_wanted, start, 1, trusted=_TRUSTED)


def _search(
    sample: _Sample, n_wanted: float, start: float, thinning: int, trusted: float = 0.0
) -> float:
    """Find the logarithm of the cost, by Newton steps inside a shrinking interval.

    From an excess of at most `trusted`, the last step is not counted again.
    """
    low, high, log_cost = 0.0, _MAX_LOG_COST, start
    best, least = start, math.inf
    for _ in range(_MAX_STEPS):
        excess = sample.count(2.0**log_cost, thinning) / n_wanted
        if abs(excess - 1) < least:
            best, least = log_cost, abs(excess - 1)
        if least <= TOLERANCE:
            break
        low, high = (log_cost, high) if excess > 1 else (low, log_cost)
        log_cost += math.log2(excess) / _SLOPE
        if least <= trusted:
            return log_cost
        if not low < log_cost < high:
            log_cost = (low + high) / 2
    return best
