"""Tables on disk, read by position."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.arrays import Array
from spixgraph.errors import StoredDataError
from spixgraph.graph.partitions import StoredArray

_ROWS_AT_ONCE = 1024


class StoredRows:
    """Rows of a Zarr array that is stored as it is in memory, in chunks of whole rows.

    Zarr reads whole chunks: 17 MB for a part of a graph that wants a few thousand rows of each.

    Attributes
    ----------
    shape : tuple of int
    chunks : tuple of int
        Rows that are best asked for at once, fewer than in a chunk of the files, and their shape.
    """

    def __init__(self, path: Path, array: Any) -> None:
        self._path, self._array = path, array
        self._step: int = array.chunks[0]
        self.shape: tuple[int, ...] = array.shape
        self.chunks = (min(_ROWS_AT_ONCE, self._step), *self.shape[1:])

    @classmethod
    def of(cls, path: Path) -> StoredArray:
        """Open an array; as Zarr array if it is compressed or cut otherwise.

        Raises
        ------
        FileNotFoundError
            If no Zarr array is at `path`.
        """
        import zarr

        array: Any = zarr.open_array(path, mode="r")
        codecs = [codec.to_dict() for codec in array.metadata.codecs]
        order = {} if array.dtype.itemsize == 1 else {"configuration": {"endian": sys.byteorder}}
        is_plain = codecs == [{"name": "bytes", **order}]
        has_whole_rows = array.chunks[1:] == array.shape[1:]
        return cls(path, array) if is_plain and has_whole_rows else array

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
        key = self._array.metadata.encode_chunk_key((k, *[0] * (len(self.shape) - 1)))
        path, dtype = self._path / key, self._array.dtype
        if not path.exists():  # Zarr writes no chunk that holds its fill value alone
            return np.full((n, *self.shape[1:]), self._array.fill_value, dtype)
        found = np.empty((n, *self.shape[1:]), dtype)
        with path.open("rb", buffering=0) as file:
            file.seek(row * math.prod(self.shape[1:]) * dtype.itemsize)
            n_bytes = file.readinto(found.reshape(-1).view(np.uint8))
        if n_bytes != found.nbytes:
            raise StoredDataError(f"{path} is cut off; delete the graph and make it again")
        return found
