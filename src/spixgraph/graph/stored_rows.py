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
        found = np.empty((max(0, end - begin), *self.shape[1:]), self._array.dtype)
        for k in range(begin // self._step, math.ceil(end / self._step)):
            low, high = max(begin, k * self._step), min(end, (k + 1) * self._step)
            self._read(k, low - k * self._step, found[low - begin : high - begin])
        return found

    def _read(self, k: int, row: int, out: Array) -> None:
        """Read rows of chunk `k`, from `row` on."""
        key = self._array.metadata.encode_chunk_key((k, *[0] * (len(self.shape) - 1)))
        path = self._path / key
        if not path.exists():  # Zarr writes no chunk that holds its fill value alone
            out[...] = self._array.fill_value
            return
        with path.open("rb", buffering=0) as file:
            file.seek(row * math.prod(self.shape[1:]) * out.itemsize)
            n_bytes = file.readinto(out.reshape(-1).view(np.uint8))
        if n_bytes != out.nbytes:
            raise StoredDataError(f"{path} is cut off; delete the graph and make it again")
