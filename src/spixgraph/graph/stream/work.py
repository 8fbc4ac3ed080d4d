"""The pass: read strips ahead, describe blocks in threads, number and join them in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import local
from types import TracebackType

import numpy as np

from spixgraph.arrays import Array
from spixgraph.graph.blocks.block_graph import BlockGraph
from spixgraph.graph.blocks.describe import describe_block
from spixgraph.graph.stream.heap import give_back
from spixgraph.graph.stream.image_plan import ImagePlan
from spixgraph.graph.stream.joins import (
    Contacts,
    Left,
    contacts_of_strip,
    finish_strip,
    join_block,
    keep_faces,
    left_of,
)
from spixgraph.graph.stream.reader import StripReader
from spixgraph.graph.stream.region import Region
from spixgraph.graph.stream.store import Store
from spixgraph.io.source import ImageSource
from spixgraph.superpixels.basins.block import Workspace
from spixgraph.superpixels.basins.grid import Box

_TRIM_BLOCKS = 32
"""After so many blocks, freed memory is handed back; the heaps of the threads grow otherwise."""
NODE_COLUMNS = ("x", "centroid_px", "n_pixels", "intensity")


@dataclass(frozen=True, slots=True, eq=False)
class _Described:
    """A block that has no ids yet."""

    strip: int
    k: int
    future: "Future[BlockGraph]"


@dataclass(slots=True, eq=False)
class _OpenStrip:
    """A strip that is being numbered, or waits for its last blocks to be joined."""

    number: int
    first: list[int]
    left: Left | None = None
    joined: "list[Future[Contacts]]" = field(default_factory=list)


def run_pass(
    source: ImageSource,
    plan: ImagePlan,
    region: Region,
    store: Store,
    workers: int,
    progress: Callable[[int], None],
    block_px: int | None = None,
) -> None:
    """Work through the strips of a region that a store lacks; buffers are freed at the end.

    Parameters
    ----------
    source : ImageSource
    plan : ImagePlan
    region : Region
    store : Store
        With the records of the strips that are finished already.
    workers : int
        Threads that work on blocks; one more reads.
    progress : callable
        Called with the number of pixels done since the last call.
    block_px : int, optional
        See `stream_graph`.
    """
    with _Pass(source, plan, region, store, workers, progress, block_px) as strips:
        strips.run()


class _Pass:
    """One pass over a region; a context manager that ends its threads."""

    def __init__(
        self,
        source: ImageSource,
        plan: ImagePlan,
        region: Region,
        store: Store,
        workers: int,
        progress: Callable[[int], None],
        block_px: int | None,
    ) -> None:
        self._plan, self._region, self._store, self._progress = plan, region, store, progress
        self._begin, self._n_blocks = len(store.records), 0
        self._window = window(workers)
        self._n_buffers = n_buffers(region, workers)
        self._reader = StripReader(
            source, plan, region, store.digests, self._begin, self._n_buffers, block_px
        )
        self._pool = ThreadPoolExecutor(workers, "block")
        self._reading = ThreadPoolExecutor(1, "read")
        self._thread = local()

    def __enter__(self) -> "_Pass":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pool in (self._reading, self._pool):
            pool.shutdown(wait=True, cancel_futures=True)

    def run(self) -> None:
        """Work through the strips that are left."""
        first = self._store.records[-1].first[-1] if self._begin else 0
        self._progress(sum(n_pixels(self._region, number) for number in range(self._begin)))
        strip = _OpenStrip(self._begin, [first])
        before: _OpenStrip | None = None
        for k, block in self._blocks():
            self._number(k, block, strip, before)
            is_last = k == len(self._region.x) - 1
            if before is not None and (is_last or k >= self._window):
                self._finish(before)  # not at its end: threads would run out of work
                before = None
            if is_last:
                before = strip
                strip = _OpenStrip(strip.number + 1, [strip.first[-1]])
        if before is not None:
            self._finish(before)

    def _blocks(self) -> Iterator[tuple[int, BlockGraph]]:
        """Yield described blocks in order; some more are under way."""
        waiting: deque[_Described] = deque()
        reads: dict[int, Future[tuple[Array, Box]]] = {}
        end, n_x = self._region.n_strips, len(self._region.x)

        def read(strip: int) -> None:
            if strip < end:
                reads[strip] = self._reading.submit(self._read, strip)

        def next_block() -> tuple[int, BlockGraph]:
            oldest = waiting.popleft()
            block = oldest.future.result()
            if oldest.k == n_x - 1:  # its pixels are done with
                read(oldest.strip + self._n_buffers)
            return oldest.k, block

        for strip in range(self._begin, self._begin + self._n_buffers):
            read(strip)
        for strip in range(self._begin, end):
            while waiting and waiting[0].strip <= strip - self._n_buffers:
                yield next_block()
            pixels, box = reads.pop(strip).result()
            for k in range(n_x):
                future = self._pool.submit(self._describe, pixels, box, strip, k)
                waiting.append(_Described(strip, k, future))
                if len(waiting) >= self._window:
                    yield next_block()
        while waiting:
            yield next_block()

    def _read(self, strip: int) -> tuple[Array, Box]:
        """Read the next strip; in the thread that reads."""
        pixels = self._reader.read()
        if strip == self._begin:
            give_back()  # tiles that the source has kept since the plan made room for others
        return pixels

    def _describe(self, pixels: Array, box: Box, strip: int, k: int) -> BlockGraph:
        """Describe one block; in a thread."""
        if not hasattr(self._thread, "work"):
            self._thread.work = Workspace()
        work: Workspace = self._thread.work
        return describe(pixels, box, self._plan, self._region.number(strip, k), work)

    def _number(
        self, k: int, block: BlockGraph, strip: _OpenStrip, before: _OpenStrip | None
    ) -> None:
        """Give a block its ids, and let a thread write its labels and find its contacts."""
        first = strip.first[-1]
        strip.first.append(first + len(block.n_pixels))
        for name in NODE_COLUMNS:
            self._store.spool(name).append(getattr(block, name))
        task = self._pool.submit(self._join, strip.number, k, block, first, strip.left, before)
        strip.joined.append(task)
        strip.left = left_of(self._region, k, block, first)
        if len(strip.joined) > self._window:
            strip.joined[-self._window - 1].result()
        self._n_blocks += 1
        if self._n_blocks % _TRIM_BLOCKS == 0:
            give_back()

    def _join(
        self,
        strip: int,
        k: int,
        block: BlockGraph,
        first: int,
        left: Left | None,
        before: _OpenStrip | None,
    ) -> Contacts:
        """Write the labels of a block, join it to those before it; in a thread.

        The same block of the strip before, which is not finished, may be in another thread still;
        it was handed in earlier, so it is under way.
        """
        store, region = self._store, self._region

        def first_of(other: int) -> Sequence[int]:
            if before is not None and other == before.number:
                return before.first
            return store.records[other].first

        store.put_labels(strip, k, block, first)
        keep_faces(store.faces, region, strip, k, block)
        if before is not None:
            before.joined[k].result()
        return join_block(store.faces, region, strip, k, block, first, left, first_of)

    def _finish(self, strip: _OpenStrip) -> None:
        """Write the contacts of a strip and note that it is done."""
        contacts = contacts_of_strip([future.result() for future in strip.joined])
        finish_strip(self._store, self._region, strip.first, contacts)
        self._progress(n_pixels(self._region, strip.number))


def describe(pixels: Array, box: Box, plan: ImagePlan, number: int, work: Workspace) -> BlockGraph:
    """Describe block `number` from stored pixels that hold its tile; `box` is their place."""
    blocks = plan.blocks
    place = blocks.place(number)
    shape = (plan.n_channels, *blocks.tile_shape(place.size_zyx))
    tile = plan.tile_of(pixels, box, number, work.array("tile", shape, np.uint16))
    return describe_block(tile, place, blocks, work)


def n_pixels(region: Region, strip: int) -> int:
    """Count the pixels of a strip."""
    near = region.grid.box(region.number(strip, 0))
    high = [s.stop - s.start for s in near[:2]]
    return high[0] * high[1] * region.shape_zyx[2]


def window(workers: int) -> int:
    """Blocks that are under way or wait for their turn."""
    return 2 * workers + 2


def n_buffers(region: Region, workers: int) -> int:
    """Count the strips whose pixels are in memory; more than two where strips are short."""
    return min(1 + max(1, -(-window(workers) // len(region.x))), max(2, region.n_strips))
