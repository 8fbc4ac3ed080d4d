"""The tables of a graph, in memory or on disk, and what the network makes of them."""

import math
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
from spixgraph.graph.stored_rows import StoredRows
from spixgraph.graph.stream import StreamedGraph
from spixgraph.graph.stream.block_ids import block_ids

_Shape = tuple[int, ...]


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
            StoredRows.of(graph.path / "x"),
            zarr.open_array(graph.path / "edge_index", mode="r"),
            StoredRows.of(graph.path / "edge_attr"),
            block_ids(graph.plan, graph.region, graph.first_node),
        )


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
