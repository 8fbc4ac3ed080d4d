"""Label images on disk: one chunked, compressed Zarr v3 array."""

import math
import threading
from pathlib import Path

import numpy as np
import zarr
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]  # it publishes no types
from zarr.codecs import ZstdCodec

from spixgraph.arrays import Array, LabelsZYX, ShapeZYX, require_labels
from spixgraph.errors import StoredDataError
from spixgraph.files import atomic_path
from spixgraph.io.source import stream_blocks
from spixgraph.superpixels.basins.jit import kernel

_CHUNK_ZYX = (16, 512, 512)
_ZSTD_LEVEL = 1


class LabelWriter:
    """Writes a label image chunk by chunk, from any thread; threads never share a chunk.

    Chunk files are written directly, in the layout that the metadata state: going through zarr
    costs about a millisecond per chunk under the GIL.

    Parameters
    ----------
    path : Path
        Of the array; made unless it is there already.
    shape_zyx, chunk_zyx : three int
        Ids are int32, or int64 where the image has 2**31 pixels or more.
    """

    def __init__(self, path: Path, shape_zyx: ShapeZYX, chunk_zyx: ShapeZYX) -> None:
        self.dtype = np.dtype(np.int32 if math.prod(shape_zyx) < 2**31 else np.int64)
        self._folder, self._chunk_zyx = path / "c", chunk_zyx
        self._thread = threading.local()
        if not (path / "zarr.json").exists():
            zarr.create_array(
                str(path),
                shape=shape_zyx,
                chunks=chunk_zyx,
                dtype=self.dtype,
                compressors=ZstdCodec(level=_ZSTD_LEVEL),
                dimension_names=("z", "y", "x"),
                fill_value=0,
                zarr_format=3,
            )

    def write(self, place_zyx: ShapeZYX, labels: Array, first: int = 0) -> None:
        """Write chunk `place_zyx`: `labels` (Z, Y, X), counted from the id `first`."""
        chunk = self._chunk()
        if labels.shape != chunk.shape:
            chunk[...] = 0
        z, y, x = labels.shape
        _number(labels, first, chunk[:z, :y, :x])
        folder = self._folder / str(place_zyx[0]) / str(place_zyx[1])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(place_zyx[2])).write_bytes(Zstd(level=_ZSTD_LEVEL).encode(chunk))

    def _chunk(self) -> Array:
        """Return the buffer of this thread."""
        if not hasattr(self._thread, "chunk"):
            self._thread.chunk = np.empty(self._chunk_zyx, self.dtype)
        chunk: Array = self._thread.chunk
        return chunk


@kernel
def _number(labels: Array, first: int, out: Array) -> None:
    """Write labels counted from `first`."""
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            line, to = labels[z, y], out[z, y]
            for x in range(line.size):
                to[x] = np.int64(line[x]) + first


def save_labels(labels: LabelsZYX, path: Path) -> None:
    """Write (Z, Y, X) int32 labels, atomically; same labels, same bytes."""
    require_labels(labels)
    z, y, x = (min(c, s) for c, s in zip(_CHUNK_ZYX, labels.shape, strict=True))
    with atomic_path(path) as part:
        writer = LabelWriter(part, labels.shape, (z, y, x))
        for box in stream_blocks((*labels.shape, 1), (z, y, x)):
            place = (box[0].start // z, box[1].start // y, box[2].start // x)
            writer.write(place, labels[box])


def load_labels(path: Path) -> LabelsZYX:
    """Read labels again; raises `StoredDataError` where there are none."""
    try:
        labels = np.asarray(zarr.open_array(str(path), mode="r", zarr_format=3)[...])
        require_labels(labels)
    except (OSError, KeyError, ValueError) as error:
        raise StoredDataError(f"{path} holds no label image: {error}; make it again") from error
    return labels
