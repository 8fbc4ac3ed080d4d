"""The Zarr v3 group that a streamed graph becomes: label chunks as they come, tables at the end."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]  # it publishes no types
from zarr.codecs import ZstdCodec

from spixgraph.arrays import Array
from spixgraph.graph.region_graph import MAX_CHUNK_ROWS

_ZSTD_LEVEL = 1


class LabelWriter:
    """Writes the chunks of `labels`; a chunk is one block, so threads never share one.

    Chunk files are written directly, in the layout that the metadata state: going through zarr
    costs about a millisecond per chunk under the GIL.
    """

    def __init__(
        self, folder: Path, group: zarr.Group, shape_yx: tuple[int, int], block_px: int
    ) -> None:
        self.dtype = np.dtype(np.int32 if math.prod(shape_yx) < 2**31 else np.int64)
        self._block_px = block_px
        group.create_array(
            "labels",
            shape=(1, *shape_yx),
            chunks=(1, block_px, block_px),
            dtype=self.dtype,
            compressors=ZstdCodec(level=_ZSTD_LEVEL),
            dimension_names=("z", "y", "x"),
            fill_value=0,
        )
        self._folder = folder / "labels" / "c" / "0"

    def write(self, labels: Array, first: int, row: int, column: int) -> None:
        """Write block (row, column) of local ids, the first of which is `first` in the image."""
        chunk = np.zeros((self._block_px, self._block_px), self.dtype)
        inside = chunk[: labels.shape[0], : labels.shape[1]]
        np.add(labels, self.dtype.type(first), out=inside, dtype=self.dtype)
        folder = self._folder / str(row)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(column)).write_bytes(Zstd(level=_ZSTD_LEVEL).encode(chunk))


class Table:
    """Rows that are appended to a file beside the group, then become one of its arrays."""

    def __init__(self, path: Path, columns: tuple[int, ...], dtype: Any) -> None:
        self._path, self._columns, self._dtype = path, columns, np.dtype(dtype)
        self._handle = path.open("wb")

    def append(self, rows: Array) -> None:
        """Add rows."""
        self._handle.write(np.ascontiguousarray(rows, self._dtype).data)

    def close(self) -> None:
        """Close the file and remove it."""
        self._handle.close()
        self._path.unlink(missing_ok=True)

    def finish(self, group: zarr.Group, name: str, *, transposed: bool = False) -> None:
        """Copy the rows chunk by chunk into array `name`, uncompressed as all graph tables are."""
        self._handle.close()
        width = math.prod(self._columns)
        n = self._path.stat().st_size // (width * self._dtype.itemsize)
        rows = np.fromfile(self._path, self._dtype, 0)
        if n:
            rows = np.memmap(self._path, self._dtype, "r", shape=(n, *self._columns))
        step = max(1, math.ceil(n / max(1, math.ceil(n / MAX_CHUNK_ROWS))))
        array = group.create_array(
            name,
            shape=(*self._columns, n) if transposed else (n, *self._columns),
            chunks=(*self._columns, step) if transposed else (step, *self._columns),
            dtype=self._dtype,
            compressors=None,
            filters=None,
            fill_value=0,
        )
        for i in range(0, n, step):
            part = np.asarray(rows[i : i + step])
            if transposed:
                array[..., i : i + step] = part.T
            else:
                array[i : i + step] = part
        del rows
        self.close()
