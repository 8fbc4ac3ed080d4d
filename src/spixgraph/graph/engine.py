"""From an image on disk to its superpixels and region graph on disk, in bounded memory.

A strip is a row of barrier blocks. While the blocks of one strip are worked on, the rows of the
next are read, and the edges of the strip before are written: the last ones of its superpixels
lead to the strip below. Ids, and so all bytes, depend on neither the number of workers nor on
what is in memory at once.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import zarr

from spixgraph.errors import InputError, ResourceError
from spixgraph.files import atomic_path
from spixgraph.graph.engine_block import (
    ALIGN_PX,
    FEATURE_HALO_PX,
    N_OCTAVES,
    BlockGraph,
    block_graph,
)
from spixgraph.graph.engine_edges import EDGE_FEATURE_NAMES, Touches
from spixgraph.graph.engine_rows import Levels, RowReader, UInt16
from spixgraph.graph.engine_store import LabelWriter
from spixgraph.graph.engine_strip import Strip, Tables, seam_between
from spixgraph.graph.region_graph import SCHEMA
from spixgraph.io.images import image_sha256
from spixgraph.io.limits import intensity_limits
from spixgraph.io.source import ImageSource
from spixgraph.superpixels.basins.block import Workspace
from spixgraph.superpixels.basins.plan import BasinPlan, make_plan

log = logging.getLogger(__name__)

Roi = tuple[slice, slice]
_WORKER_BYTES_PER_PX = 220
_FIXED_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class StreamedGraph:
    """What was written.

    Attributes
    ----------
    n_regions, n_edges : int
        Edges count both directions.
    n_pixels : int
    plan : BasinPlan
    """

    n_regions: int
    n_edges: int
    n_pixels: int
    plan: BasinPlan


def stream_graph(
    source: ImageSource,
    out: Path,
    *,
    nodes_per_megapixel: float,
    workers: int = 1,
    roi: Roi | None = None,
    max_bytes: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> StreamedGraph:
    """Cut a 2D image into superpixels and write labels and region graph as one Zarr v3 group.

    Parameters
    ----------
    source : ImageSource
        Read once for the intensity limits, in a sample of blocks for the plan, and once, strip by
        strip, for the graph.
    out : Path
        The group to make, atomically: `labels` (1, Y, X), compressed, and the arrays of
        `RegionGraph`, so that `load_graph` reads it.
    nodes_per_megapixel : float
        See `basins.basin_labels`.
    workers : int
        Threads; the result does not depend on it.
    roi : (y, x) slices, optional
        A part of the image that starts and ends on barrier lines or at its border. It has the
        superpixels that the whole image has there; ids count from 0, places are of the image.
    max_bytes : int, optional
        Refuse if the prediction of `predicted_bytes` is larger.
    progress : callable, optional
        Called with the number of pixels done since the last call.

    Raises
    ------
    InputError
        If the image has several slices, or the region of interest is off the grid.
    ResourceError
        If `max_bytes` would not do.
    """
    if source.info.shape_zyxc[0] != 1:
        raise InputError(
            f"the image has {source.info.shape_zyxc[0]} slices; streaming handles one, use the "
            "superpixels and graphs stages for stacks"
        )
    levels = Levels(source, intensity_limits(source))
    plan = make_plan(levels, nodes_per_megapixel=nodes_per_megapixel, workers=workers)
    run = _Run(source, levels, plan, _blocks(plan, roi), (1e6 / nodes_per_megapixel) ** 0.5)
    _require_memory(predicted_bytes(source, plan, run.blocks, workers), max_bytes)
    sha = image_sha256(source)
    with atomic_path(out) as part, ThreadPoolExecutor(workers + 1) as pool:
        group = zarr.create_group(part, zarr_format=3)
        n_regions, n_edges = run.write(part, group, pool, progress or (lambda n: None))
        group.attrs.update(_attributes(source, sha, plan, nodes_per_megapixel, run))
    return StreamedGraph(n_regions, n_edges, len(run.rows) * len(run.columns), plan)


def predicted_bytes(
    source: ImageSource, plan: BasinPlan, blocks: tuple[range, range], workers: int
) -> int:
    """Predict the peak of the memory above that of the idle process.

    Three strips as pixels and levels, two as labels and node tables, and a workspace per worker.
    """
    block_px = plan.grid.block_zyx[1]
    width = min(len(blocks[1]) * block_px, plan.grid.shape_zyx[2]) + 2 * FEATURE_HALO_PX
    n_channels = source.info.n_channels
    strip = width * (block_px + 2 * FEATURE_HALO_PX) * n_channels
    per_px = 3 * (source.info.dtype.itemsize + 2) + 2 * 4
    return _FIXED_BYTES + strip * per_px + workers * block_px**2 * _WORKER_BYTES_PER_PX


def _require_memory(predicted: int, limit: int | None) -> None:
    log.info("predicted peak memory: %.0f MiB", predicted / 2**20)
    if limit is not None and predicted > limit:
        raise ResourceError(
            f"the graph needs {predicted / 2**20:.0f} MiB, --max-memory allows "
            f"{limit / 2**20:.0f} MiB; allow {predicted / 2**20:.0f} MiB, take fewer workers or a "
            "narrower region of interest"
        )


def _blocks(plan: BasinPlan, roi: Roi | None) -> tuple[range, range]:
    """Rows and columns of blocks of a region of interest."""
    _, n_y, n_x = plan.grid.n_blocks_zyx
    if roi is None:
        return range(n_y), range(n_x)
    (y, x), (size_y, size_x) = roi, plan.grid.shape_zyx[1:]
    block_px = plan.grid.block_zyx[1]
    return _block_range(y, size_y, block_px), _block_range(x, size_x, block_px)


def _block_range(span: slice, size: int, block_px: int) -> range:
    start, stop, step = span.indices(size)
    aligned = start % block_px == 0 and (stop % block_px == 0 or stop == size)
    if step != 1 or stop <= start or not aligned:
        raise InputError(
            f"region of interest {span.start}:{span.stop} of {size} px must start and end on "
            f"multiples of {block_px} px or at the border of the image"
        )
    return range(start // block_px, -(-stop // block_px))


def _attributes(
    source: ImageSource, sha: str, plan: BasinPlan, nodes: float, run: "_Run"
) -> dict[str, Any]:
    """Build what `load_graph` wants besides the arrays."""
    size = source.info.pixel_size_um
    names = [f"c{i}_contrast" for i in range(source.info.n_channels)]
    return {
        "edge_feature_names": [*EDGE_FEATURE_NAMES, *names],
        "feature_names": list(run.names),
        "image_sha256": sha,
        "params": {
            "block_px": plan.grid.block_zyx[1],
            "channel_weights": list(plan.channel_weights),
            "merge_cost": plan.merge_cost,
            "method": "basins",
            "n_octaves": N_OCTAVES,
            "nodes_per_megapixel": nodes,
            "origin_yx": [run.rows.start, run.columns.start],
        },
        "pixel_size_um": None if size is None else list(size),
        "schema": SCHEMA,
        "shape_zyx": [1, len(run.rows), len(run.columns)],
    }


class _Run:
    """One pass over an image or a region of interest."""

    def __init__(
        self,
        source: ImageSource,
        levels: Levels,
        plan: BasinPlan,
        blocks: tuple[range, range],
        unit_px: float,
    ) -> None:
        self._plan, self._unit_px, self.blocks = plan, unit_px, blocks
        self._block_px = plan.grid.block_zyx[1]
        _, n_y, n_x = plan.grid.shape_zyx
        self.rows, self.columns = (
            range(b.start * self._block_px, min(b.stop * self._block_px, n))
            for b, n in zip(blocks, (n_y, n_x), strict=True)
        )
        self._reader = RowReader(source, levels, self.rows, self.columns)
        self._thread = local()
        self.names: tuple[str, ...] = ()

    def write(
        self,
        part: Path,
        group: zarr.Group,
        pool: ThreadPoolExecutor,
        progress: Callable[[int], None],
    ) -> tuple[int, int]:
        """Work through the strips; return the number of nodes and of edges."""
        labels = LabelWriter(part, group, (len(self.rows), len(self.columns)), self._block_px)
        with Tables(part) as tables:
            above: Strip | None = None
            from_above = Touches.join([])
            n_regions = 0
            rows = pool.submit(self._read, 0)
            waiting = self._start(rows.result(), 0, pool)
            for i in range(len(self.blocks[0])):
                last = i + 1 == len(self.blocks[0])
                rows = rows if last else pool.submit(self._read, i + 1)
                strip = self._collect(waiting, n_regions)
                n_regions = strip.ids.stop
                writes = self._write_labels(strip, i, labels, pool)
                waiting = [] if last else self._start(rows.result(), i + 1, pool)
                tables.add_nodes(strip)
                if above is not None:
                    between = seam_between(above, strip)
                    tables.add_edges(above, strip, [from_above, between], self._unit_px)
                    from_above = between
                for write in writes:
                    write.result()
                above = strip
                progress(sum(p.labels.size for p in strip.parts))
            if above is not None:
                tables.add_edges(above, None, [from_above], self._unit_px)
            return n_regions, tables.finish(group)

    def _span(self, i: int) -> tuple[int, int]:
        y0 = (self.blocks[0].start + i) * self._block_px
        return y0, min(y0 + self._block_px, self.rows.stop)

    def _read(self, i: int) -> UInt16:
        return self._reader.strip(*self._span(i))

    def _start(self, rows: UInt16, i: int, pool: ThreadPoolExecutor) -> "list[Future[BlockGraph]]":
        return [pool.submit(self._block, rows, i, column) for column in self.blocks[1]]

    def _block(self, rows: UInt16, i: int, column: int) -> BlockGraph:
        """Work on one block; in a thread."""
        if not hasattr(self._thread, "work"):
            self._thread.work = Workspace()
        y0, y1 = self._span(i)
        x0 = column * self._block_px
        size = (y1 - y0, min(self._block_px, self.columns.stop - x0))
        at = x0 - self.columns.start
        width = -(-size[1] // ALIGN_PX) * ALIGN_PX + 2 * FEATURE_HALO_PX
        tile = rows[:, :, at : at + width]
        _, n_y, n_x = self._plan.grid.shape_zyx
        return block_graph(
            tile,
            size,
            (y0, x0),
            (n_y, n_x),
            self._plan.channel_weights,
            self._plan.merge_cost,
            self._thread.work,
        )

    def _collect(self, waiting: "list[Future[BlockGraph]]", n_regions: int) -> Strip:
        parts = [future.result() for future in waiting]
        self.names = parts[0].names
        first = np.cumsum([n_regions] + [len(p.n_pixels) for p in parts]).tolist()
        return Strip(parts, first)

    def _write_labels(
        self, strip: Strip, i: int, labels: LabelWriter, pool: ThreadPoolExecutor
    ) -> "list[Future[None]]":
        return [
            pool.submit(labels.write, p.labels, first, i, k)
            for k, (p, first) in enumerate(zip(strip.parts, strip.first[:-1], strict=True))
        ]
