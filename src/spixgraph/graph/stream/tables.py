"""The final tables of a graph, written row by row: chunk files of a Zarr group, or arrays."""

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import zarr

from spixgraph.arrays import Array
from spixgraph.graph.region_graph import chunk_rows
from spixgraph.graph.stream.spool import write_from


class Table(Protocol):
    """A table of known size that is filled from its first row to its last."""

    def append(self, rows: Array) -> None:
        """Write the next rows."""
        ...


class ArrayTable:
    """In memory.

    Attributes
    ----------
    rows : (n, ...) array
    """

    def __init__(self, n: int, columns: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.rows = np.empty((n, *columns), dtype)
        self._n = 0

    def append(self, rows: Array) -> None:
        """See `Table`."""
        self.rows[self._n : self._n + len(rows)] = rows
        self._n += len(rows)


class ChunkTable:
    """An uncompressed Zarr array whose chunk files are written in place, as in `save_graph`.

    Parameters
    ----------
    group : zarr.Group
    folder : Path
        Of the group.
    name : str
    n : int
        Rows.
    columns : tuple of int
    dtype : dtype
    is_transposed : bool
        The array is (columns, n): rows are handed in as (n, columns) all the same.
    """

    def __init__(
        self,
        group: zarr.Group,
        folder: Path,
        name: str,
        n: int,
        columns: tuple[int, ...],
        dtype: npt.DTypeLike,
        *,
        is_transposed: bool = False,
    ) -> None:
        self._columns, self._dtype, self._transposed = columns, np.dtype(dtype), is_transposed
        self._rows, self._n = chunk_rows(n), 0
        group.create_array(
            name,
            shape=(*columns, n) if is_transposed else (n, *columns),
            chunks=(*columns, self._rows) if is_transposed else (self._rows, *columns),
            dtype=self._dtype,
            compressors=None,
            filters=None,
            fill_value=0,
            overwrite=True,
        )
        self._folder = folder / name / "c"

    def append(self, rows: Array) -> None:
        """See `Table`."""
        done = 0
        while done < len(rows):
            chunk, at = divmod(self._n, self._rows)
            part = rows[done : done + self._rows - at]
            self._write(chunk, at, np.ascontiguousarray(part, self._dtype))
            self._n += len(part)
            done += len(part)

    def _write(self, chunk: int, at: int, rows: Array) -> None:
        """Write rows at a place in a chunk; the file has the length of a whole one."""
        width = int(np.prod(self._columns, dtype=np.int64)) * self._dtype.itemsize
        path = self._folder.joinpath(*self._place(chunk))
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if at == 0:
                os.truncate(handle, self._rows * width)
            if self._transposed:
                size = self._dtype.itemsize
                for i, column in enumerate(rows.T):
                    place = (i * self._rows + at) * size
                    write_from(handle, np.ascontiguousarray(column), place)
            else:
                write_from(handle, rows, at * width)
        finally:
            os.close(handle)

    def _place(self, chunk: int) -> list[str]:
        """Path of a chunk below ``c``."""
        others: list[Any] = ["0"] * len(self._columns)
        return [*others, str(chunk)] if self._transposed else [str(chunk), *others]
