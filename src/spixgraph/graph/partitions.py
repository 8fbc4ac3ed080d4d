"""A large graph as overlapping parts that fit in memory, with the same answers as the whole.

A network of L message passing layers sees L hops far. So the nodes within L hops of some core, with
the edges that lead to nodes within L - 1 hops, give the core what the whole graph gives it. Nodes
are numbered by block, so the nodes of a box of blocks are a few runs of ids, and such a box is a
compact core. Edges are sorted by target, so those that lead to a node are one run of rows. Nothing
is held but the part at hand.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

import numpy as np

from spixgraph.arrays import Array, Bool, Int64, ShapeZYX
from spixgraph.errors import InputError, ResourceError

_CHUNK_ROWS = 65_536
_CACHED_CHUNKS = 32
_FILL = 2 / 3
"""Nodes of a core over nodes of its part, as a first guess; measured 0.6 to 0.8 at 8 layers."""


class StoredArray(Protocol):
    """A numpy or a Zarr array: slices of it are read when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    def __getitem__(self, index: Any) -> Any:
        """Return a part."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockIds:
    """Which nodes lie in which block of the barrier grid.

    Attributes
    ----------
    n_blocks_zyx : three int
        Number of blocks along each axis; they are numbered in z, y, x order.
    first : (n_blocks + 1,) int64
        Id of the first node of each block, and the number of nodes.
    hops_zyx : three float
        How many nodes a block is across along each axis, roughly.
    """

    n_blocks_zyx: ShapeZYX
    first: Int64
    hops_zyx: tuple[float, float, float]

    def __post_init__(self) -> None:
        n = math.prod(self.n_blocks_zyx)
        if self.first.shape != (n + 1,) or (np.diff(self.first) < 0).any() or self.first[0] != 0:
            raise InputError(f"first must hold {n + 1} rising ids from 0, got {self.first.shape}")

    @classmethod
    def single(cls, n_regions: int) -> "BlockIds":
        """Take a graph that has no blocks as one."""
        return cls((1, 1, 1), np.array([0, n_regions], np.int64), (1.0, 1.0, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """A part of a graph, whose core gets the logits that the whole graph would give it.

    Attributes
    ----------
    nodes : (m,) int64
        Ids in the whole graph of core and halo, ascending; the part numbers them 0..m-1.
    core : (k,) int64
        Rows of `nodes` that are the core, ascending.
    edge_index : (2, e) int64
        In the numbers of the part, in the order of the whole graph.
    edge_rows : (e,) int64
        Rows of the edges in the whole graph, ascending.
    """

    nodes: Int64
    core: Int64
    edge_index: Int64
    edge_rows: Int64

    @property
    def core_ids(self) -> Int64:
        """Ids of the core in the whole graph."""
        return self.nodes[self.core]


class EdgesByTarget:
    """Edges of a graph, read in chunks; the last ones are kept.

    Parameters
    ----------
    edge_index : (2, E) int64
        (source, target), sorted by target; read once here to learn where targets begin.
    cached_chunks : int
        Pieces of 65,536 edges, 1 MiB, that are kept; few where places are asked for at random,
        none where there are many graphs.
    """

    def __init__(self, edge_index: StoredArray, *, cached_chunks: int = _CACHED_CHUNKS) -> None:
        self._cached_chunks = cached_chunks
        self._stored = edge_index
        self._n = edge_index.shape[1]
        chunks = getattr(edge_index, "chunks", (2, _CHUNK_ROWS))
        self._step = min(_CHUNK_ROWS, chunks[1])
        self._cache: OrderedDict[int, Int64] = OrderedDict()
        ends = [self._read(k)[1, [0, -1]] for k in range(-(-self._n // self._step))]
        self._first, self._last = np.array(ends, np.int64).reshape(-1, 2).T

    def into(self, nodes: Int64) -> tuple[Int64, Int64]:
        """Find the edges that lead to `nodes`, which ascend: their rows, and (2, e) ids."""
        begin = np.searchsorted(nodes, self._first)
        end = np.searchsorted(nodes, self._last, "right")
        rows, edges = [np.empty(0, np.int64)], [np.empty((2, 0), np.int64)]
        for k in np.flatnonzero(begin < end).tolist():
            chunk = self._chunk(k)
            some = nodes[begin[k] : end[k]]
            inside = _ranges(
                np.searchsorted(chunk[1], some), np.searchsorted(chunk[1], some, "right")
            )
            rows.append(inside + k * self._step)
            edges.append(chunk[:, inside])
        return np.concatenate(rows), np.concatenate(edges, axis=1)

    def _chunk(self, k: int) -> Int64:
        chunk = self._cache.pop(k) if k in self._cache else self._read(k)
        self._cache[k] = chunk
        if len(self._cache) > self._cached_chunks:
            self._cache.popitem(last=False)
        return chunk

    def _read(self, k: int) -> Int64:
        return np.asarray(self._stored[:, k * self._step : (k + 1) * self._step])


def _ranges(begin: Int64, end: Int64) -> Int64:
    """Put the numbers begin[i]..end[i]-1 one behind the other."""
    length = end - begin
    shift = np.repeat(begin - np.cumsum(length) + length, length)
    return shift + np.arange(len(shift))


def take_rows(stored: StoredArray, rows: Int64) -> Array:
    """Read some rows, which ascend, of an array along its first axis, chunk by chunk."""
    step = getattr(stored, "chunks", (_CHUNK_ROWS,))[0]
    parts = []
    cuts = np.searchsorted(rows, np.arange(0, stored.shape[0] + step, step))
    for k in np.flatnonzero(np.diff(cuts)).tolist():
        some = rows[cuts[k] : cuts[k + 1]]
        low, high = int(some[0]), int(some[-1]) + 1
        parts.append(np.asarray(stored[low:high])[some - low])
    return np.concatenate(parts) if parts else np.asarray(stored[:0])


def partitions(
    edges: EdgesByTarget, blocks: BlockIds, *, n_layers: int, max_nodes: int
) -> Iterator[Partition]:
    """Cut a graph into parts whose cores cover it once.

    Parameters
    ----------
    edges : EdgesByTarget
    blocks : BlockIds
    n_layers : int
        Message passing layers of the network, >= 0.
    max_nodes : int
        Most nodes of a part, core and halo together. A graph that has no more is one part.

    Yields
    ------
    Partition
        In an order that depends on the arguments alone.

    Raises
    ------
    InputError
        If `n_layers` < 0 or `max_nodes` < 1.
    ResourceError
        If a single block with its halo has more than `max_nodes` nodes.
    """
    if n_layers < 0 or max_nodes < 1:
        raise InputError(f"n_layers={n_layers} must be >= 0, max_nodes={max_nodes} >= 1")
    seen = np.zeros(blocks.first[-1], np.bool_)
    limits = _Limits(edges, seen, n_layers, max_nodes)
    yield from _cut(_Box.whole(blocks), limits)


@dataclass(frozen=True, slots=True, eq=False)
class _Limits:
    """What all parts have in common; `seen` is room to mark nodes, False between two parts."""

    edges: EdgesByTarget
    seen: Bool
    n_layers: int
    max_nodes: int


def _cut(box: "_Box", limits: _Limits) -> Iterator[Partition]:
    """Yield the parts of a box of blocks."""
    n_nodes = box.n_nodes
    if n_nodes == 0:
        return
    part = _grow(box.ids(), limits) if n_nodes <= limits.max_nodes else None
    if part is not None:
        yield part
        return
    halves = box.halves(max(2, math.ceil(n_nodes / (_FILL * limits.max_nodes))))
    if halves is None:
        raise ResourceError(
            f"a block of {n_nodes:,} superpixels and those within {limits.n_layers} hops of it are "
            f"more than {limits.max_nodes:,}, the limit of a part of the graph; allow more memory, "
            "or ask for fewer superpixels per megapixel"
        )
    for half in halves:
        yield from _cut(half, limits)


def _grow(core: Int64, limits: _Limits) -> Partition | None:
    """Add what lies within reach of a core; None if that is more than `max_nodes`."""
    seen, ring = limits.seen, core
    seen[core] = True
    rings, found = [core], [limits.edges.into(core[:0])]
    while len(rings) <= limits.n_layers and sum(map(len, rings)) <= limits.max_nodes:
        found.append(limits.edges.into(ring))
        sources = found[-1][1][0]
        ring = np.unique(sources[~seen[sources]])
        seen[ring] = True
        rings.append(ring)
    nodes = np.sort(np.concatenate(rings))
    seen[nodes] = False
    return _part(core, nodes, found) if len(nodes) <= limits.max_nodes else None


def _part(core: Int64, nodes: Int64, found: list[tuple[Int64, Int64]]) -> Partition:
    """Renumber the nodes of a part, and put its edges in the order of the whole graph."""
    rows = np.concatenate([f[0] for f in found])
    order = np.argsort(rows, kind="stable")
    ids = np.concatenate([f[1] for f in found], axis=1)[:, order]
    return Partition(
        nodes=nodes,
        core=np.searchsorted(nodes, core),
        edge_index=np.searchsorted(nodes, ids),
        edge_rows=rows[order],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Box:
    """A box of blocks."""

    blocks: BlockIds
    spans: tuple[range, range, range]

    @classmethod
    def whole(cls, blocks: BlockIds) -> "_Box":
        z, y, x = (range(n) for n in blocks.n_blocks_zyx)
        return cls(blocks, (z, y, x))

    @property
    def n_nodes(self) -> int:
        return sum(end - begin for begin, end in self._runs())

    def ids(self) -> Int64:
        """Return the nodes, ascending."""
        return np.concatenate([np.arange(begin, end) for begin, end in self._runs()])

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Yield the runs of ids, one per row of blocks."""
        z, y, x = self.spans
        _, n_y, n_x = self.blocks.n_blocks_zyx
        for i, j in product(z, y):
            row = (i * n_y + j) * n_x
            yield int(self.blocks.first[row + x.start]), int(self.blocks.first[row + x.stop])

    def halves(self, n_parts: int) -> "tuple[_Box, _Box] | None":
        """Cut across the longest axis, so that `n_parts` equal parts can come of it; None if 1."""
        extent = [
            len(span) * hops if len(span) > 1 else 0.0
            for span, hops in zip(self.spans, self.blocks.hops_zyx, strict=True)
        ]
        axis = int(np.argmax(extent))
        span = self.spans[axis]
        if len(span) < 2:
            return None
        at = round(len(span) * (n_parts // 2) / n_parts)
        at = min(max(at, 1), len(span) - 1)
        return self._with(axis, span[:at]), self._with(axis, span[at:])

    def _with(self, axis: int, span: range) -> "_Box":
        spans = list(self.spans)
        spans[axis] = span
        return replace(self, spans=(spans[0], spans[1], spans[2]))
