"""The tables of a graph, in memory or on disk, and what the network makes of them."""

import math
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import zarr

from spixgraph.arrays import Array, Int64
from spixgraph.errors import StoredDataError
from spixgraph.graph.partitions import BlockIds, StoredArray
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.stream import StreamedGraph
from spixgraph.graph.stream.block_ids import block_ids

_Shape = tuple[int, ...]
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class GraphTables:
    """What a network needs of a graph; rows are read when they are asked for.

    Attributes
    ----------
    feature_names, edge_feature_names : tuple of str
    x, edge_index, edge_attr : numpy or Zarr array
        As in `RegionGraph`.
    blocks : BlockIds
    """

    feature_names: tuple[str, ...]
    edge_feature_names: tuple[str, ...]
    x: StoredArray
    edge_index: StoredArray
    edge_attr: StoredArray
    blocks: BlockIds

    @property
    def n_regions(self) -> int:
        """Number of nodes."""
        return self.x.shape[0]

    @classmethod
    def of_graph(cls, graph: RegionGraph, blocks: BlockIds | None = None) -> "GraphTables":
        """Take the tables of a graph in memory; without `blocks` it is not cut into parts."""
        return cls(
            graph.feature_names,
            graph.edge_feature_names,
            graph.x,
            graph.edge_index,
            graph.edge_attr,
            blocks or BlockIds.single(graph.n_regions),
        )

    @classmethod
    def of_streamed(cls, graph: StreamedGraph) -> "GraphTables":
        """Take the tables of a graph on disk."""
        return cls(
            graph.feature_names,
            graph.edge_feature_names,
            StoredRows.of(graph, "x"),
            stored_array(graph, "edge_index"),
            StoredRows.of(graph, "edge_attr"),
            block_ids(graph.plan, graph.region, graph.first_node),
        )


def stored_array(graph: StreamedGraph, name: str) -> StoredArray:
    """Open one array of a graph on disk."""
    return zarr.open_array(graph.path / name, mode="r")


class StoredRows:
    """Rows of a table of a graph on disk, read by position.

    Zarr reads whole chunks, 17 MB for a part of the graph that wants a few thousand rows of each.

    Attributes
    ----------
    shape : two int
    chunks : two int
        Rows that are best asked for at once, and columns; smaller than those of the files.
    """

    def __init__(self, folder: Path, array: Any) -> None:
        self._folder, self._array = folder, array
        self._step: int = array.chunks[0]
        self.shape: _Shape = array.shape
        self.chunks = (min(_ROWS_AT_ONCE, self._step), self.shape[1])

    @classmethod
    def of(cls, graph: StreamedGraph, name: str) -> StoredArray:
        """Open a table; as Zarr array if it is not stored as it is in memory."""
        array: Any = stored_array(graph, name)
        codecs = [codec.to_dict() for codec in array.metadata.codecs]
        is_plain = codecs == [{"name": "bytes", "configuration": {"endian": sys.byteorder}}]
        is_table = array.ndim == 2 and array.chunks[1] == array.shape[1]
        return cls(graph.path / name, array) if is_plain and is_table else array

    def __getitem__(self, rows: slice) -> Array:
        """Read consecutive rows."""
        begin, end, _ = rows.indices(self.shape[0])
        first, last = begin // self._step, max(begin, end - 1) // self._step
        parts = []
        for k in range(first, last + 1):
            low, high = max(begin, k * self._step), min(end, (k + 1) * self._step)
            parts.append(self._read(k, low - k * self._step, max(0, high - low)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read(self, k: int, row: int, n: int) -> Array:
        """Read `n` rows of chunk `k`."""
        path = self._folder / self._array.metadata.encode_chunk_key((k, 0))
        shape, dtype = (n, self.shape[1]), self._array.dtype
        if not path.exists():  # Zarr writes no chunk that holds its fill value alone
            return np.full(shape, self._array.fill_value, dtype)
        row_bytes = shape[1] * dtype.itemsize
        with path.open("rb", buffering=0) as file:
            file.seek(row * row_bytes)
            data = file.read(n * row_bytes)
        if len(data) != n * row_bytes:
            raise StoredDataError(f"{path} is cut off; delete the graph and run again")
        return np.frombuffer(data, dtype).reshape(shape)


class Rows(Protocol):
    """A table with one row per node."""

    def __setitem__(self, ids: Int64, rows: Array) -> None:
        """Write some rows; `ids` ascend."""

    def __getitem__(self, rows: slice) -> Any:
        """Read consecutive rows."""


class FileRows:
    """Rows in a file, read and written by position, so that none of it is held.

    Parameters
    ----------
    path : Path
        Made where it lacks.
    shape : tuple of int
        Number of rows, then the shape of a row.
    dtype : dtype
    """

    def __init__(self, path: Path, shape: _Shape, dtype: npt.DTypeLike) -> None:
        self._path, self._shape, self._dtype = path, shape, np.dtype(dtype)
        self._row_bytes = math.prod(shape[1:]) * self._dtype.itemsize
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(shape[0] * self._row_bytes)
        self._file = path.open("r+b", buffering=0)

    def __setitem__(self, ids: Int64, rows: Array) -> None:
        """See `Rows`."""
        rows = np.ascontiguousarray(rows, self._dtype)
        cuts = [0, *(np.flatnonzero(np.diff(ids) != 1) + 1).tolist(), len(ids)]
        for begin, end in pairwise(cuts):
            self._file.seek(int(ids[begin]) * self._row_bytes)
            self._file.write(rows[begin:end].data)

    def __getitem__(self, rows: slice) -> Array:
        """See `Rows`."""
        begin, end, _ = rows.indices(self._shape[0])
        shape = (end - begin, *self._shape[1:])
        with self._path.open("rb", buffering=0) as file:  # a handle of its own: threads read
            file.seek(begin * self._row_bytes)
            data = file.read((end - begin) * self._row_bytes)
        if len(data) != (end - begin) * self._row_bytes:
            raise StoredDataError(f"{self._path} is cut off; delete it and run again")
        return np.frombuffer(data, self._dtype).reshape(shape)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
