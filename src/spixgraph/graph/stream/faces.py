"""The far planes of finished blocks, kept until the blocks that face them are done."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from spixgraph.graph.blocks.block_graph import BlockGraph
from spixgraph.graph.stream.region import Region
from spixgraph.graph.stream.spool import read_into, write_from
from spixgraph.superpixels.basins.levels import UInt16

_FAR = {"z": 1, "y": 3, "x": 5}
_NEAR = {"z": 0, "y": 2, "x": 4}


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One outer plane of a block: labels and gradients (P, Q) uint16."""

    labels: UInt16
    gradient: UInt16


def near_face(block: BlockGraph, axis: str) -> Face:
    """Return the first plane along an axis."""
    return _face(block, axis, 0, _NEAR[axis])


def far_face(block: BlockGraph, axis: str) -> Face:
    """Return the last plane along an axis."""
    return _face(block, axis, -1, _FAR[axis])


def _face(block: BlockGraph, axis: str, plane: int, rim: int) -> Face:
    labels = np.take(block.labels, plane, axis="zyx".index(axis))
    return Face(np.ascontiguousarray(labels), np.ascontiguousarray(block.rims[rim]))


class FaceStore(Protocol):
    """Keeps the far planes along y and z of the blocks of each strip."""

    def put(self, strip: int, k: int, axis: str, face: Face) -> None:
        """Keep one; from any thread."""
        ...

    def get(self, strip: int, k: int, axis: str) -> Face:
        """Return it again; from any thread."""
        ...

    def drop(self, strip: int) -> None:
        """Forget a strip."""
        ...


class MemoryFaces:
    """In memory."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[tuple[int, str], Face]] = {}

    def put(self, strip: int, k: int, axis: str, face: Face) -> None:
        """See `FaceStore`."""
        self._kept.setdefault(strip, {})[k, axis] = face

    def get(self, strip: int, k: int, axis: str) -> Face:
        """See `FaceStore`."""
        return self._kept[strip][k, axis]

    def drop(self, strip: int) -> None:
        """See `FaceStore`."""
        self._kept.pop(strip, None)


class FileFaces:
    """In a file per strip: slices of a large stack do not fit in memory."""

    def __init__(self, folder: Path, region: Region) -> None:
        self._folder, self._region = folder, region
        folder.mkdir(exist_ok=True)
        _, high, wide = region.grid.block_zyx
        deep = region.grid.block_zyx[0]
        self._room = 2 * (deep * wide + (high * wide if len(region.z) > 1 else 0))

    def _path(self, strip: int) -> Path:
        return self._folder / str(strip)

    def _shape(self, strip: int, k: int, axis: str) -> tuple[int, int]:
        deep, high, wide = self._region.grid.size(self._region.number(strip, k))
        return (deep, wide) if axis == "y" else (high, wide)

    def _offset(self, k: int, axis: str) -> int:
        """Where a face starts in the file, in bytes; each block has room for full planes."""
        deep, _, wide = self._region.grid.block_zyx
        return 2 * (k * self._room + (0 if axis == "y" else 2 * deep * wide))

    def put(self, strip: int, k: int, axis: str, face: Face) -> None:
        """See `FaceStore`."""
        self._path(strip).touch()
        with self._path(strip).open("r+b", buffering=0) as handle:
            offset = self._offset(k, axis)
            write_from(handle.fileno(), face.labels, offset)
            write_from(handle.fileno(), face.gradient, offset + face.labels.nbytes)

    def get(self, strip: int, k: int, axis: str) -> Face:
        """See `FaceStore`."""
        both = np.empty((2, *self._shape(strip, k, axis)), np.uint16)
        with self._path(strip).open("rb", buffering=0) as handle:
            read_into(handle.fileno(), both, self._offset(k, axis))
        return Face(both[0], both[1])

    def drop(self, strip: int) -> None:
        """See `FaceStore`."""
        self._path(strip).unlink(missing_ok=True)
