"""Rows that are appended while the image is read, and read back by their number."""

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from spixgraph.arrays import Array
from spixgraph.errors import StoredDataError


class Spool(Protocol):
    """A table that grows; rows are of one shape and dtype."""

    def append(self, rows: Array) -> None:
        """Add rows."""
        ...

    def read(self, start: int, stop: int) -> Array:
        """Return rows start..stop."""
        ...


class MemorySpool:
    """Rows in memory."""

    def __init__(self, columns: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self._rows = np.empty((0, *columns), dtype)
        self._n = 0

    def append(self, rows: Array) -> None:
        """See `Spool`; room grows by half."""
        end = self._n + len(rows)
        if end > len(self._rows):
            grown = np.empty((end + end // 2, *self._rows.shape[1:]), self._rows.dtype)
            grown[: self._n] = self._rows[: self._n]
            self._rows = grown
        self._rows[self._n : end] = rows
        self._n = end

    def read(self, start: int, stop: int) -> Array:
        """See `Spool`; a view."""
        return self._rows[start:stop]


class FileSpool:
    """Rows in a file.

    Parameters
    ----------
    path : Path
        Made if it is not there.
    columns : tuple of int
    dtype : dtype
    n : int
        Rows to keep of what the file holds already.
    """

    def __init__(
        self, path: Path, columns: tuple[int, ...], dtype: npt.DTypeLike, n: int = 0
    ) -> None:
        self._columns, self._dtype = columns, np.dtype(dtype)
        self._row_bytes = int(np.prod(columns, dtype=np.int64)) * self._dtype.itemsize
        path.touch()
        if path.stat().st_size < n * self._row_bytes:
            raise StoredDataError(
                f"{path} holds {path.stat().st_size} bytes, the journal beside it counts on "
                f"{n * self._row_bytes}; delete {path.parent.parent} and start anew"
            )
        self._handle = path.open("r+b", buffering=0)
        self._end = n * self._row_bytes
        self._handle.truncate(self._end)

    def append(self, rows: Array) -> None:
        """See `Spool`."""
        rows = np.ascontiguousarray(rows, self._dtype)
        write_from(self._handle.fileno(), rows, self._end)
        self._end += rows.nbytes

    def read(self, start: int, stop: int) -> Array:
        """See `Spool`; a copy. From any thread."""
        rows: Array = np.empty((stop - start, *self._columns), self._dtype)
        read_into(self._handle.fileno(), rows, start * self._row_bytes)
        return rows

    def __enter__(self) -> "FileSpool":
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.close()


def write_rows(path: Path, rows: Array, start: int) -> None:
    """Write rows, from row `start` on, into the file of a `FileSpool` that is open elsewhere."""
    width = rows.nbytes // len(rows)
    with path.open("r+b", buffering=0) as handle:
        write_from(handle.fileno(), np.ascontiguousarray(rows), start * width)


def read_into(handle: int, out: Array, offset: int) -> None:
    """Fill a C-contiguous array from a file."""
    view: Any = out.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        n = os.preadv(handle, [view[done:]], offset + done)
        if n == 0:
            raise EOFError(f"{out.nbytes} bytes at {offset} are not all there")
        done += n


def write_from(handle: int, rows: Array, offset: int) -> None:
    """Write a C-contiguous array into a file."""
    view: Any = rows.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        done += os.pwrite(handle, view[done:], offset + done)
