"""The memory contract: how much a pass takes, from the shape of the image and the threads alone.

What is counted are the buffers of each phase; factors per pixel of a block are those of the
workspaces of `basins.block` and `blocks.describe`, measured.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil

from spixgraph.errors import ResourceError
from spixgraph.graph.blocks.block_graph import node_feature_names
from spixgraph.graph.blocks.plan import block_plan
from spixgraph.graph.stream.finish import PIECE_BLOCKS
from spixgraph.graph.stream.image_plan import ImagePlan, is_small
from spixgraph.graph.stream.reader import kept_bytes, rows_bytes, strip_bytes
from spixgraph.graph.stream.region import Region, Roi, region_of
from spixgraph.graph.stream.seams import face_contacts
from spixgraph.graph.stream.work import n_buffers, window
from spixgraph.io.sample import sample_boxes
from spixgraph.io.source import ImageInfo
from spixgraph.superpixels.basins.grid import BasinPlan, Box, barrier_grid, box_size
from spixgraph.superpixels.basins.plan import cut_boxes

log = logging.getLogger(__name__)

_BASIN_BYTES = 1.4
"""Per pixel of the sample: tables of basins and their contacts."""
_PLAN_BYTES = 42
"""Workspace of a thread per pixel of a block while the plan is made."""
_BLOCK_BYTES, _BLOCK_CHANNEL_BYTES = 36, 7
"""The same for the pass: at all, and for each channel."""
_VOLUME_BYTES, _VOLUME_CHANNEL_BYTES = 33, 20
"""The same in volumes."""
_SLICE_BYTES = 36
"""More where blocks of a stack are joined to the slice before."""
_TABLE_BYTES = 7 << 19
"""Tables of the regions of a block, whatever its size."""
_CODE_BYTES = 64 << 20
"""Compiled code, loaded by the first run of a process."""
_NODE_EDGES = 6
_READ_COPIES = 2
"""Of the rows that are read at once: a source puts them together from tiles, and stacks planes."""
_PLAN_FIXED_BYTES = 4 << 20
_PASS_FIXED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Contract:
    """Peak memory of the phases of a run above that of the idle process, in bytes."""

    planning: int
    passing: int
    finishing: int

    @property
    def peak(self) -> int:
        """The largest of them."""
        return max(self.planning, self.passing, self.finishing)


def predicted_bytes(
    info: ImageInfo, *, nodes_per_megapixel: float, workers: int, roi: Roi | None = None
) -> Contract:
    """Predict the peak of the memory above that of the idle process, compiled code loaded.

    Parameters
    ----------
    info : ImageInfo
        Of the image. What its source keeps itself, such as decoded tiles, is not counted.
    nodes_per_megapixel : float
    workers : int
    roi : (z, y, x) slices, optional
    """
    z, y, x, n_channels = info.shape_zyxc
    plan = shape_plan(info, nodes_per_megapixel)
    region = region_of(plan.blocks.basins.grid, roi)
    held = _n_pixels(sample_boxes((z, y, x), info.spacing_zyx)) * n_channels * info.dtype.itemsize
    kept = held if is_small(info) else 0
    return Contract(
        _PLAN_FIXED_BYTES + held + _plan_bytes(plan, workers),
        kept + _pass_bytes(plan, region, workers),
        kept + _finish_bytes(plan, region, workers),
    )


def shape_plan(info: ImageInfo, nodes_per_megapixel: float) -> ImagePlan:
    """Make the plan of an image as far as its shape decides it."""
    z, y, x, n_channels = info.shape_zyxc
    grid = barrier_grid((z, y, x), info.spacing_zyx, nodes_per_megapixel)
    basins = BasinPlan(grid, (1.0,) * n_channels, 0.0)
    limits = np.array([[0.0, 1.0]] * n_channels)
    return ImagePlan(info, nodes_per_megapixel, limits, block_plan(basins, info.spacing_zyx))


def _block_px(plan: ImagePlan) -> int:
    """Pixels of the largest block."""
    grid = plan.blocks.basins.grid
    return math.prod(min(a, b) for a, b in zip(grid.block_zyx, grid.shape_zyx, strict=True))


def _n_pixels(boxes: Sequence[Box]) -> int:
    return sum(math.prod(box_size(box)) for box in boxes)


def _plan_bytes(plan: ImagePlan, workers: int) -> int:
    """Basins of what is cut for the plan, and workspace."""
    grid = plan.blocks.basins.grid
    boxes = cut_boxes(grid, sample_boxes(grid.shape_zyx, plan.info.spacing_zyx))
    largest = max(math.prod(box_size(box)) for box in boxes)
    return int(_n_pixels(boxes) * _BASIN_BYTES + workers * largest * _PLAN_BYTES)


def _pass_bytes(plan: ImagePlan, region: Region, workers: int) -> int:
    """Add up strips as stored, tiles, described blocks that wait, and contacts of two strips."""
    nodes = _block_px(plan) * plan.nodes_per_megapixel / 1e6
    strips = n_buffers(region, workers) * strip_bytes(plan, region) + kept_bytes(plan, region)
    strips += _READ_COPIES * rows_bytes(plan, region)
    contacts = min(2, region.n_strips) * nodes * len(region.x) * _NODE_EDGES / 2 * 40
    blocks = workers * thread_bytes(plan, region) + window(workers) * described_bytes(plan)
    return int(_PASS_FIXED_BYTES + strips + blocks + contacts)


def thread_bytes(plan: ImagePlan, region: Region) -> float:
    """Workspace, tile and label chunk of a thread."""
    blocks, block_px = plan.blocks, _block_px(plan)
    tile = 2 * plan.n_channels * math.prod(blocks.tile_shape(blocks.place(0).size_zyx))
    per_px = _BLOCK_BYTES + _BLOCK_CHANNEL_BYTES * plan.n_channels
    if blocks.is_volume:
        per_px = _VOLUME_BYTES + _VOLUME_CHANNEL_BYTES * plan.n_channels
    elif len(region.z) > 1:
        per_px += _SLICE_BYTES
    return _TABLE_BYTES + tile + block_px * (4 + per_px)


def described_bytes(plan: ImagePlan) -> float:
    """Labels, node columns and contacts of a described block."""
    block_px = _block_px(plan)
    nodes = block_px * plan.nodes_per_megapixel / 1e6
    return 2 * block_px + nodes * (_node_bytes(plan) + _NODE_EDGES / 2 * 36)


def _finish_bytes(plan: ImagePlan, region: Region, workers: int) -> int:
    """Contacts, windows of nodes and edges of the pieces under way; the rows of one."""
    n_blocks = min(PIECE_BLOCKS, len(region.x))
    nodes = _block_px(plan) * n_blocks * plan.nodes_per_megapixel / 1e6
    edges = nodes * _NODE_EDGES
    n_touching = len(region.touching(region.n_strips // 2))
    piece = nodes * n_touching * (32 + 8 * plan.n_channels) + edges * (40 + 24 + 4 * 8)
    return int((workers + 1) * piece + 2 * nodes * _node_bytes(plan))


def _node_bytes(plan: ImagePlan) -> int:
    """Bytes of the columns of a node."""
    blocks = plan.blocks
    names = node_feature_names(plan.n_channels, blocks.n_octaves, is_volume=blocks.is_volume)
    return 4 * len(names) + 32 + 8 * plan.n_channels


def idle_bytes() -> int:
    """Return the memory of this process before a run, with the compiled code that it will load."""
    loaded = bool(face_contacts.signatures)
    return int(psutil.Process().memory_info().rss) + (0 if loaded else _CODE_BYTES)


def choose_workers(
    info: ImageInfo,
    *,
    nodes_per_megapixel: float,
    workers: int,
    roi: Roi | None,
    max_bytes: int | None,
    held_bytes: int = 0,
) -> int:
    """Take as many of the threads as memory allows.

    The memory of the idle process counts, too, and what the source keeps (`held_bytes`).

    Raises
    ------
    ResourceError
        If one thread is too much; with the smallest limit that would do.
    """
    idle = idle_bytes()

    def need(n: int) -> int:
        contract = predicted_bytes(
            info, nodes_per_megapixel=nodes_per_megapixel, workers=n, roi=roi
        )
        return idle + held_bytes + contract.peak

    fitting = [n for n in range(workers, 0, -1) if max_bytes is None or need(n) <= max_bytes]
    if not fitting:
        raise ResourceError(
            f"the graph needs {need(1) / 1e6:.0f} MB with one worker, --max-memory allows "
            f"{(max_bytes or 0) / 1e6:.0f} MB; allow {need(1) / 1e6:.0f} MB or take a smaller "
            "region of interest (--roi)"
        )
    if max_bytes is not None:
        log.info(
            "predicted peak memory: %.0f MB with %d workers", need(fitting[0]) / 1e6, fitting[0]
        )
    return fitting[0]
