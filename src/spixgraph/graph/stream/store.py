"""Where a pass puts what it finds: in memory, or in a folder that becomes a Zarr group."""

import math
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import zarr

from spixgraph.arrays import Array, LabelsZYX, ShapeZYX
from spixgraph.graph.blocks.block_graph import BlockGraph
from spixgraph.graph.stream.faces import FaceStore, FileFaces, MemoryFaces
from spixgraph.graph.stream.records import Journal, StripRecord
from spixgraph.graph.stream.region import Region
from spixgraph.graph.stream.seams import CONTACT_COLUMNS
from spixgraph.graph.stream.spool import FileSpool, MemorySpool, Spool
from spixgraph.graph.stream.tables import ArrayTable, ChunkTable, Table
from spixgraph.io.images import BandDigests
from spixgraph.io.source import BAND_ROWS, ImageInfo
from spixgraph.superpixels.store import LabelWriter

WORK = ".work"
DTYPES: dict[str, Any] = {
    "x": np.float32,
    "centroid_px": np.float64,
    "n_pixels": np.int64,
    "intensity": np.float64,
    "contacts": np.int64,
}


class Store(Protocol):
    """What a pass fills.

    Attributes
    ----------
    records : list of StripRecord
        Of finished strips.
    faces : FaceStore
    digests : BandDigests
        Of the region of interest.
    """

    records: list[StripRecord]
    faces: FaceStore
    digests: BandDigests

    def spool(self, name: str) -> Spool:
        """Return a table of the pass: node columns, intensity or contacts."""
        ...

    def put_labels(self, strip: int, k: int, block: BlockGraph, first: int) -> None:
        """Write the labels of a block; from any thread."""
        ...

    def commit(self, record: StripRecord) -> None:
        """Note that the next strip is finished."""
        ...

    def table(self, name: str, n: int, columns: tuple[int, ...], dtype: npt.DTypeLike) -> Table:
        """Begin a final table of `n` rows."""
        ...


def _columns(n_features: int, n_channels: int) -> dict[str, tuple[int, ...]]:
    return {
        "x": (n_features,),
        "centroid_px": (3,),
        "n_pixels": (),
        "intensity": (n_channels,),
        "contacts": (CONTACT_COLUMNS,),
    }


def _digests(region: Region, info: ImageInfo) -> BandDigests:
    return BandDigests((*region.shape_zyx, info.n_channels), info.dtype)


def _inside(region: Region, strip: int, k: int) -> tuple[slice, slice, slice]:
    """Place of a block in the region, in pixels."""
    spans = zip(region.grid.box(region.number(strip, k)), region.box, strict=True)
    z, y, x = (slice(s.start - b.start, s.stop - b.start) for s, b in spans)
    return z, y, x


class MemoryStore:
    """In memory; see `Store`."""

    def __init__(self, region: Region, info: ImageInfo, n_features: int) -> None:
        self.records: list[StripRecord] = []
        self.faces: FaceStore = MemoryFaces()
        self.digests = _digests(region, info)
        self.labels: LabelsZYX = np.empty(region.shape_zyx, np.int32)
        self.tables: dict[str, ArrayTable] = {}
        self._region = region
        self._spools = {
            name: MemorySpool(columns, DTYPES[name])
            for name, columns in _columns(n_features, info.n_channels).items()
        }

    def spool(self, name: str) -> Spool:
        """See `Store`."""
        return self._spools[name]

    def put_labels(self, strip: int, k: int, block: BlockGraph, first: int) -> None:
        """See `Store`."""
        place = self.labels[_inside(self._region, strip, k)]
        np.add(block.labels, np.int32(first), out=place)

    def commit(self, record: StripRecord) -> None:
        """See `Store`."""
        self.records.append(record)

    def table(self, name: str, n: int, columns: tuple[int, ...], dtype: npt.DTypeLike) -> Table:
        """See `Store`."""
        self.tables[name] = ArrayTable(n, columns, dtype)
        return self.tables[name]


class FolderStore:
    """In a folder; `close` makes the group complete. See `Store`.

    Parameters
    ----------
    folder : Path
        Kept as an attribute. Holds what an earlier run with the same `header` left, or is made.
    region : Region
    info : ImageInfo
    n_features : int
    header : dict
        What decides the result, see `records.Journal`.
    """

    def __init__(
        self, folder: Path, region: Region, info: ImageInfo, n_features: int, header: dict[str, Any]
    ) -> None:
        self.folder, self._work, self._region = folder, folder / WORK, region
        self._work.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(self._work / "journal", header)
        self.records = self._journal.records
        self.faces: FaceStore = FileFaces(self._work / "faces", region)
        self.digests = _digests(region, info)
        self._labels = label_writer(folder, region)
        with ExitStack() as files:
            self._bands = files.enter_context(self._open_bands())
            self._spools = {
                name: files.enter_context(self._open_spool(name, columns))
                for name, columns in _columns(n_features, info.n_channels).items()
            }
            self._load_digests()
            self._files = files.pop_all()

    def _open_bands(self) -> FileSpool:
        n_bands = sum(len(self._strip_bands(strip)) for strip in range(len(self.records)))
        return FileSpool(self._work / "digests", (32,), np.uint8, n_bands)

    def _open_spool(self, name: str, columns: tuple[int, ...]) -> FileSpool:
        n = 0
        if self.records:
            last = self.records[-1]
            n = last.contacts[-1] if name == "contacts" else last.first[-1]
        return FileSpool(self._work / name, columns, DTYPES[name], n)

    def spool(self, name: str) -> Spool:
        """See `Store`."""
        return self._spools[name]

    def put_labels(self, strip: int, k: int, block: BlockGraph, first: int) -> None:
        """See `Store`."""
        self._labels.write(label_chunk(self._region, strip, k), block.labels, first)

    def commit(self, record: StripRecord) -> None:
        """See `Store`."""
        self._bands.append(self._strip_bands(len(self.records)))
        self._journal.add(record)

    def table(self, name: str, n: int, columns: tuple[int, ...], dtype: npt.DTypeLike) -> Table:
        """See `Store`."""
        group = zarr.open_group(self.folder, mode="a", zarr_format=3)
        shutil.rmtree(self.folder / name, ignore_errors=True)
        transposed = name == "edge_index"
        return ChunkTable(group, self.folder, name, n, columns, dtype, is_transposed=transposed)

    def close(self, attributes: dict[str, Any] | None = None) -> None:
        """Close all files; with attributes, finish the group and remove what led to it."""
        self._files.close()
        if attributes is not None:
            group = zarr.open_group(self.folder, mode="a", zarr_format=3)
            group.attrs.update(attributes)
            shutil.rmtree(self._work)

    def _band_span(self, strip: int) -> tuple[slice, slice]:
        z, y, _ = _inside(self._region, strip, 0)
        return z, slice(y.start // BAND_ROWS, -(-y.stop // BAND_ROWS))

    def _strip_bands(self, strip: int) -> Array:
        return self.digests.bands[self._band_span(strip)].reshape(-1, 32)

    def _load_digests(self) -> None:
        """Put the digests of finished strips back."""
        start = 0
        for strip in range(len(self.records)):
            span = self._band_span(strip)
            shape = self.digests.bands[span].shape
            stop = start + math.prod(shape[:2])
            self.digests.bands[span] = self._bands.read(start, stop).reshape(shape)
            start = stop


def label_writer(folder: Path, region: Region) -> LabelWriter:
    """Begin the label image of a group, or go on with it; a chunk is a block."""
    return LabelWriter(folder / "labels", region.shape_zyx, _chunk_zyx(region))


def label_chunk(region: Region, strip: int, k: int) -> ShapeZYX:
    """Place of a block among the chunks of the label image."""
    return strip // len(region.y), strip % len(region.y), k


def _chunk_zyx(region: Region) -> ShapeZYX:
    """Chunks of the label image: blocks, no larger than the region."""
    z, y, x = (min(b, n) for b, n in zip(region.grid.block_zyx, region.shape_zyx, strict=True))
    return z, y, x
