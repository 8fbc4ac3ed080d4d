"""A region graph with targets and pixel samples on disk, whose rows are read when asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.arrays import Float32, Int64
from spixgraph.errors import StoredDataError
from spixgraph.graph.partitions import StoredArray
from spixgraph.graph.region_graph import MAX_CHUNK_ROWS, GraphSource, RegionGraph, open_tables
from spixgraph.graph.stored_rows import StoredRows


@dataclass(frozen=True, slots=True, eq=False)
class StoredGraph:
    """What `RegionGraph` holds, of which the tables of nodes and edges stay on disk.

    Attributes
    ----------
    feature_names, edge_feature_names : tuple of str
    source : GraphSource
    x, centroid_px, edge_index, edge_attr : StoredRows, Zarr array or ArrayFile
    n_pixels, target, annotated : numpy array
        As in `RegionGraph`; small.
    """

    feature_names: tuple[str, ...]
    edge_feature_names: tuple[str, ...]
    source: GraphSource
    x: StoredArray
    centroid_px: StoredArray
    edge_index: StoredArray
    edge_attr: StoredArray
    n_pixels: Int64
    target: Float32
    annotated: Float32

    @property
    def n_regions(self) -> int:
        """Number of nodes."""
        return len(self.n_pixels)

    @classmethod
    def open(cls, path: Path) -> "StoredGraph":
        """Open a graph that has targets; raises as `load_graph`."""
        tables, about = open_tables(path)
        if "target" not in tables:
            raise StoredDataError(f"{path} has no targets; make it with the graphs stage")
        small = {name: np.asarray(tables[name][...]) for name in _SMALL}
        rows = {name: StoredRows.of(path / name) for name in _ROWS}
        return cls(**about | tables | rows | small)


@dataclass(frozen=True, slots=True, eq=False)
class StoredSamples:
    """`PixelSamples` on disk: names, and `values` and `classes` as `StoredRows` or `ArrayFile`."""

    names: tuple[str, ...]
    values: StoredArray
    classes: StoredArray

    @property
    def n_regions(self) -> int:
        """Number of nodes."""
        return self.classes.shape[0]


LearnedGraph = RegionGraph | StoredGraph


def row_chunks(
    stored: StoredArray, *, axis: int = 0, n_rows: int = MAX_CHUNK_ROWS
) -> Iterator[Any]:
    """Read a table in pieces of at most `n_rows`, one for a table that has no more."""
    for begin in range(0, max(stored.shape[axis], 1), n_rows):
        rows = slice(begin, begin + n_rows)
        yield np.asarray(stored[rows] if axis == 0 else stored[:, rows])


_SMALL = ("n_pixels", "target", "annotated")
_ROWS = ("x", "edge_attr", "centroid_px")
