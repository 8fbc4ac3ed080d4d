"""Where the time of the engine goes: CPU nanoseconds per pixel by stage, and the bandwidth limit.

Functions of a stage are wrapped where they are called, in one worker thread; what a stage calls
that is a stage itself counts there alone.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.graph.blocks import describe as describe_room
from spixgraph.graph.stream import driver, image_plan, reader, spool, store, work
from spixgraph.graph.stream.driver import stream_graph
from spixgraph.io.images import open_image
from spixgraph.superpixels.basins import block

_STAGES: tuple[tuple[Any, str, str], ...] = (
    (reader.StripReader, "read", "read and hash strips"),
    (image_plan.ImagePlan, "tile_of", "tiles to levels"),
    (block, "find_basins", "gradient, basins, their contacts"),
    (block, "merge_basins", "merging"),
    (describe_room, "label_block", "labels, borders"),
    (work, "describe_block", "features, contacts of superpixels"),
    (store.FolderStore, "put_labels", "label chunks"),
    (work, "join_block", "contacts across barriers"),
    (spool.FileSpool, "append", "node and contact spools"),
)
"""Where a function is looked up when it is called, its name there, its stage."""
_PHASES = ((driver, "plan_image", "plan from a sample"), (driver, "write_tables", "final tables"))
"""The same where a stage has threads of its own, and nothing else runs meanwhile."""
_COPY_BYTES = 256 << 20
_LABEL_BYTES = 4


class _Clock:
    """CPU time by stage, of all threads."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._inner = threading.local()

    def timed(
        self, stage: str, function: Any, clock: Callable[[], float] = time.thread_time
    ) -> Any:
        """Let a function add its own CPU time, without that of stages inside it."""

        def call(*arguments: Any, **options: Any) -> Any:
            outer: float = getattr(self._inner, "seconds", 0.0)
            self._inner.seconds = 0.0
            begin = clock()
            try:
                return function(*arguments, **options)
            finally:
                all_of_it = clock() - begin
                with self._lock:
                    self.spent[stage] += all_of_it - self._inner.seconds
                self._inner.seconds = outer + all_of_it

        return call


def measure_stages(path: Path, out: Path, nodes: float) -> dict[str, Any]:
    """Run the engine once with clocks in it, in a process whose code is compiled already.

    Returns
    -------
    dict
        ``ns_per_px`` by stage, ``other`` for what no clock saw, ``total``; ``copy_gb_s`` of one and
        of two threads; ``limit_ns_per_px``: the pixels read once and the tables and int32 labels
        written once, at the bandwidth of one thread.
    """
    clock = _Clock()
    for owner, name, stage in _STAGES:
        setattr(owner, name, clock.timed(stage, getattr(owner, name)))
    for owner, name, stage in _PHASES:
        setattr(owner, name, clock.timed(stage, getattr(owner, name), time.process_time))
    with open_image(path) as source:
        n_pixels = int(np.prod(source.info.shape_zyxc[:3], dtype=np.int64))
        pixel_bytes = source.info.dtype.itemsize * source.info.n_channels
        begin = time.process_time()
        stream_graph(source, out, nodes_per_megapixel=nodes, workers=1)
        total = time.process_time() - begin
    per_px = {stage: seconds * 1e9 / n_pixels for stage, seconds in clock.spent.items()}
    total_ns = total * 1e9 / n_pixels
    one, both = copy_gb_s(1), copy_gb_s(2)
    tables = sum(p.stat().st_size for p in out.rglob("*") if "labels" not in p.parts) / n_pixels
    moved = pixel_bytes + _LABEL_BYTES + tables
    return {
        "ns_per_px": per_px,
        "other_ns_per_px": total_ns - sum(per_px.values()),
        "total_ns_per_px": total_ns,
        "copy_gb_s": {"1": one, "2": both},
        "moved_bytes_per_px": moved,
        "limit_ns_per_px": moved / one,
    }


def copy_gb_s(threads: int) -> float:
    """Bytes read and written per second by a plain copy, best of five, in gigabytes."""
    pairs = [
        (np.ones(_COPY_BYTES, np.uint8), np.ones(_COPY_BYTES, np.uint8)) for _ in range(threads)
    ]
    best = 0.0
    for _ in range(5):
        jobs = [threading.Thread(target=np.copyto, args=pair) for pair in pairs]
        begin = time.perf_counter()
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        best = max(best, 2 * threads * _COPY_BYTES / (time.perf_counter() - begin) / 1e9)
    return best
