"""The parts of a graph that is too large to be learned from at once."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from spixgraph.arrays import Array, Int64
from spixgraph.errors import ResourceError
from spixgraph.graph.partitions import EdgesByTarget, Partition, partitions
from spixgraph.graph.stored_graph import LearnedGraph
from spixgraph.graph.stream.block_ids import block_ids, blocks_of_graph

MAX_NODES = 16_384
"""Most nodes that a network learns from at once. A larger graph is walked in parts, whose
activations are thrown away and made again for the gradient: a third more time, for memory that
depends on the part alone."""
PART_NODES = 10_240
"""Most nodes of a part, halo included, where the blocks of the graph allow it."""


class StoredParts(Sequence[Partition]):
    """Parts on disk: they hold as many numbers as the graph, and are used one at a time.

    Parameters
    ----------
    folder : Path
        Empty; is filled, and must outlive this.
    parts : iterable of Partition
    """

    def __init__(self, folder: Path, parts: Iterable[Partition]) -> None:
        self._folder, self._n = folder, 0
        for part in parts:
            arrays = {name: getattr(part, name).astype(np.int32) for name in _ARRAYS}
            np.savez(self._path(self._n), **arrays)
            self._n += 1

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.npz"

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> Partition: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Partition]: ...
    def __getitem__(self, index: int | slice) -> Partition | Sequence[Partition]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._n))]
        if not -self._n <= index < self._n:
            raise IndexError(index)
        with np.load(self._path(index % self._n)) as arrays:
            return Partition(**{name: _wide(arrays[name]) for name in _ARRAYS})


def parts_of(graph: LearnedGraph, *, n_layers: int, part_nodes: int) -> Iterator[Partition]:
    """Cut a streamed graph; blocks that are larger than `part_nodes` with their halo stay whole.

    Parameters
    ----------
    graph : LearnedGraph
    n_layers : int
        Message passing layers of the network.
    part_nodes : int
        Most nodes of a part; doubled until each block fits.
    """
    blocks = block_ids(*blocks_of_graph(graph))
    edges = EdgesByTarget(graph.edge_index)
    while True:
        try:
            yield from list(partitions(edges, blocks, n_layers=n_layers, max_nodes=part_nodes))
            return
        except ResourceError:
            part_nodes *= 2


def _wide(array: Array) -> Int64:
    return array.astype(np.int64)


_ARRAYS = ("nodes", "core", "edge_index", "edge_rows")
