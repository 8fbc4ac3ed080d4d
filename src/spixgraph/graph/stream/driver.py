"""From any image to labels and region graph, on disk or in memory, with the same bytes."""

import errno
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spixgraph.arrays import LabelsZYX, ShapeZYX
from spixgraph.errors import InputError, ResourceError
from spixgraph.files import sync_name, sync_tree
from spixgraph.graph.blocks.block_graph import edge_feature_names, node_feature_names
from spixgraph.graph.region_graph import GraphSource, RegionGraph
from spixgraph.graph.stream.attributes import attributes_of, params_of
from spixgraph.graph.stream.finish import feature_names, write_tables
from spixgraph.graph.stream.heap import give_back
from spixgraph.graph.stream.held import HeldGraph
from spixgraph.graph.stream.image_plan import ImagePlan, in_memory, plan_image
from spixgraph.graph.stream.memory import choose_workers
from spixgraph.graph.stream.reader import require_block_px
from spixgraph.graph.stream.records import n_finished
from spixgraph.graph.stream.region import Region, Roi, region_of
from spixgraph.graph.stream.store import WORK, FolderStore, MemoryStore
from spixgraph.graph.stream.work import run_pass
from spixgraph.graph.stream.written import StreamedGraph
from spixgraph.io.source import ImageSource

log = logging.getLogger(__name__)

Progress = Callable[[int], None]
RunPass = Callable[[ImageSource, ImagePlan, Region, FolderStore, int, Progress, int | None], None]
"""As `run_pass`, with a store in a folder."""


def stream_graph(
    source: ImageSource,
    out: Path,
    *,
    nodes_per_megapixel: float,
    workers: int = 1,
    roi: Roi | None = None,
    max_bytes: int | None = None,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
    block_zyx: ShapeZYX | None = None,
    block_px: int | None = None,
    run: RunPass = run_pass,
) -> StreamedGraph:
    """Cut an image into superpixels and write labels and region graph as one Zarr v3 group.

    Parameters
    ----------
    source : ImageSource
        Read twice in the sample of `plan_image`, once everywhere else; an image that is no larger
        than the sample is read once, into memory.
    out : Path
        The group to make: `labels`, compressed, the arrays of `RegionGraph`, so that `load_graph`
        reads it, and `first_node` and `first_edge` of each block. It is written as ``<out>.part``
        and renamed when it is complete and on the disk itself; an existing one is replaced at the
        end. A run that is under way is not synced: it outlives the process, not a power cut.
    nodes_per_megapixel : float
        Wanted superpixels per million pixels (voxels in a volume).
    workers : int
        Threads; the result does not depend on it.
    roi : (z, y, x) slices, optional
        A part of the image that starts and ends on barrier lines or at its border. It has the
        superpixels that the whole image has there, with their features; ids count from 0, places
        are of the image. Edges and neighbour contrast know what is inside alone.
    max_bytes : int, optional
        Take fewer workers, or refuse, if the prediction of `memory.predicted_bytes` is larger;
        for `run_pass` alone.
    resume : bool
        Go on with ``<out>.part`` after the last strip that an earlier call finished.
    progress : callable, optional
        Called with the number of pixels done since the last call.
    block_zyx : three int, optional
        Size of barrier blocks other than the definition's, for tests.
    block_px : int, optional
        Read the image in squares of this size, 16..65536, instead of 64 whole rows at a time; the
        result does not depend on it.
    run : callable, optional
        Does the pass: `run_pass` in threads, `cluster.ClusterPass` on other machines.

    Returns
    -------
    StreamedGraph

    Raises
    ------
    InputError
        If a setting is out of range, the region of interest is off the grid, or ``<out>.part``
        belongs to another run or holds finished strips and `resume` is False.
    StoredDataError
        If the image cannot be read.
    ResourceError
        If `max_bytes` would not do, or the disk is full.
    """
    require_block_px(block_px)
    part = part_of(out)
    done = n_finished(part / WORK / "journal")
    if done and not resume:
        raise InputError(
            f"{part} holds {done} finished strips of a run that was stopped; go on with it by "
            f"--resume (resume=True), or delete it"
        )
    if not done and part.exists():
        shutil.rmtree(part)
    if run is run_pass:
        workers = choose_workers(
            source.info,
            nodes_per_megapixel=nodes_per_megapixel,
            workers=workers,
            roi=None if block_zyx else roi,
            max_bytes=max_bytes,
            held_bytes=source.held_bytes,
        )
    source = in_memory(source)
    plan = plan_image(
        source, nodes_per_megapixel=nodes_per_megapixel, workers=workers, block_zyx=block_zyx
    )
    give_back()
    region = region_of(plan.blocks.basins.grid, roi)
    try:
        store = _store(part, plan, region)
        try:
            run(source, plan, region, store, workers, progress or (lambda n: None), block_px)
        finally:
            store.close()
        _finish(part, plan, region, workers)
        sync_tree(part)
    except BaseException as error:  # Ctrl-C too: nothing worth resuming is left behind
        if part.exists() and not n_finished(part / WORK / "journal"):
            shutil.rmtree(part, ignore_errors=True)  # a worker elsewhere may still write
        if isinstance(error, OSError):
            raise disk_error(error, part) from error
        raise
    _take_place(part, out)
    return StreamedGraph.open(out)


def part_of(out: Path) -> Path:
    """Where a graph is written until it is complete."""
    return out.with_name(f"{out.name}.part")


def _store(part: Path, plan: ImagePlan, region: Region) -> FolderStore:
    return FolderStore(part, region, plan.info, _n_features(plan), params_of(plan, region))


def _finish(part: Path, plan: ImagePlan, region: Region, workers: int) -> None:
    """Write the tables, from files that are opened anew: other machines may have filled them."""
    give_back()
    store = _store(part, plan, region)
    attributes: dict[str, Any] | None = None
    try:
        write_tables(store, plan, region, workers)
        attributes = attributes_of(plan, region, store.digests.hexdigest())
    finally:
        store.close(attributes)


def image_graph(
    source: ImageSource,
    *,
    nodes_per_megapixel: float,
    workers: int = 1,
    block_zyx: ShapeZYX | None = None,
) -> tuple[LabelsZYX, RegionGraph]:
    """Return the labels (Z, Y, X) int32 and the graph of `hold_graph`."""
    held = hold_graph(
        source, nodes_per_megapixel=nodes_per_megapixel, workers=workers, block_zyx=block_zyx
    )
    return held.labels, held.graph


def hold_graph(
    source: ImageSource,
    *,
    nodes_per_megapixel: float,
    workers: int = 1,
    block_zyx: ShapeZYX | None = None,
) -> HeldGraph:
    """Do what `stream_graph` does in memory; the arrays are those that it writes.

    Parameters
    ----------
    source, nodes_per_megapixel, workers, block_zyx
        As for `stream_graph`.

    Returns
    -------
    HeldGraph
        Node i is the superpixel with label i.
    """
    source = in_memory(source)
    plan = plan_image(
        source, nodes_per_megapixel=nodes_per_megapixel, workers=workers, block_zyx=block_zyx
    )
    region = region_of(plan.blocks.basins.grid, None)
    store = MemoryStore(region, plan.info, _n_features(plan))
    run_pass(source, plan, region, store, workers, lambda n: None)
    write_tables(store, plan, region, workers)
    rows = {name: table.rows for name, table in store.tables.items()}
    graph = RegionGraph(
        x=rows["x"],
        feature_names=feature_names(plan),
        centroid_px=rows["centroid_px"],
        n_pixels=rows["n_pixels"],
        edge_index=rows["edge_index"].T.copy(),
        edge_attr=rows["edge_attr"],
        edge_feature_names=edge_feature_names(plan.n_channels),
        source=GraphSource(
            image_sha256=store.digests.hexdigest(),
            shape_zyx=region.shape_zyx,
            pixel_size_um=plan.info.pixel_size_um,
            params=params_of(plan, region),
        ),
    )
    return HeldGraph(store.labels, graph, plan, region.numbers, rows["first_node"])


def _n_features(plan: ImagePlan) -> int:
    """Columns of x before the neighbours are known."""
    blocks = plan.blocks
    return len(node_feature_names(plan.n_channels, blocks.n_octaves, is_volume=blocks.is_volume))


def stopped_message(out: Path) -> str:
    """Say what is left of a run that was interrupted."""
    part = part_of(out)
    done = n_finished(part / WORK / "journal")
    if not done:
        return f"stopped before the first strip was finished; {out} was not made"
    return f"stopped after {done} strips, which are kept in {part}; go on with --resume"


def disk_error(error: OSError, part: Path) -> Exception:
    """Say what to do about a full disk; other errors are passed on."""
    if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return error
    place = part if part.exists() else part.parent
    kept = f"; what is finished is kept in {part}, go on with --resume" if part.exists() else ""
    return ResourceError(
        f"no room for {part}: {error.strerror}, {shutil.disk_usage(place).free / 1e6:.0f} MB are "
        f"free; make room{kept}"
    )


def _take_place(part: Path, out: Path) -> None:
    """Give a complete group its name."""
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    if out.exists():
        out.rename(old)
    part.rename(out)
    sync_name(out)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)
