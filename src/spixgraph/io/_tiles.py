"""A pyramid of 8 bit planes as rows of deflated tiles on disk, before it becomes a file.

Tiles come in any order of rows and from several threads; a row that is there is complete, so a
stopped run goes on where it was. Only rows are held in memory. Every format is made of them: a
TIFF takes the tiles as they are.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

import imagecodecs
import numpy as np

from spixgraph.arrays import UInt8
from spixgraph.threads import ahead

TILE_PX = 512
_SMALLEST_LEVEL_PX = 1024
_DEFLATE_LEVEL = 4

Reduce = Callable[[UInt8], UInt8]
"""Halves (Y, X) pixels with even sides."""


class TileRows:
    """The levels of a pyramid; level k halves level k - 1.

    Parameters
    ----------
    folder : Path
        Made if it is not there; rows that it holds are kept.
    n_planes : int
    shape_yx : two int
        Of level 0.
    """

    def __init__(self, folder: Path, n_planes: int, shape_yx: tuple[int, int]) -> None:
        self.folder, self.n_planes = folder, n_planes
        self.shapes_yx = level_shapes(shape_yx)
        folder.mkdir(parents=True, exist_ok=True)

    def rows(self, level: int) -> Iterator[tuple[int, int]]:
        """Yield (plane, row) of all rows of tiles of a level, in order."""
        yield from product(range(self.n_planes), range(-(-self.shapes_yx[level][0] // TILE_PX)))

    def holds(self, level: int, plane: int, row: int) -> bool:
        """Whether a row is complete."""
        return self._path(level, plane, row).is_file()

    def write(self, level: int, plane: int, row: int, pixels: UInt8) -> None:
        """Keep (h, X) pixels as the tiles of a row, the last ones filled up with zeros."""
        height, width = pixels.shape
        tile = np.zeros((TILE_PX, TILE_PX), np.uint8)
        tiles = []
        for x in range(0, width, TILE_PX):
            part = pixels[:, x : x + TILE_PX]
            if part.shape != tile.shape:
                tile[:] = 0
            tile[:height, : part.shape[1]] = part
            tiles.append(imagecodecs.deflate_encode(tile.tobytes(), level=_DEFLATE_LEVEL))
        lengths = np.array([len(t) for t in tiles], "<u4").tobytes()
        path = self._path(level, plane, row)
        part_path = path.with_suffix(".part")
        part_path.write_bytes(b"".join([lengths, *tiles]))
        part_path.replace(path)

    def tiles(self, level: int, plane: int, row: int) -> list[bytes]:
        """Read the tiles of a row as zlib streams of (512, 512) uint8."""
        data = self._path(level, plane, row).read_bytes()
        n = -(-self.shapes_yx[level][1] // TILE_PX)
        ends = 4 * n + np.cumsum(np.frombuffer(data, "<u4", n), dtype=np.int64)
        return [data[a:b] for a, b in zip([4 * n, *ends[:-1]], ends, strict=True)]

    def read(self, level: int, plane: int, row: int) -> UInt8:
        """Read the pixels (h, X) of a row of tiles."""
        shape = (TILE_PX, TILE_PX)
        decoded = [
            np.frombuffer(imagecodecs.deflate_decode(t, out=TILE_PX**2), np.uint8).reshape(shape)
            for t in self.tiles(level, plane, row)
        ]
        height, width = self.shapes_yx[level]
        return np.concatenate(decoded, axis=1)[: height - row * TILE_PX, :width]

    def build(self, reduce: Reduce, pool: ThreadPoolExecutor) -> None:
        """Make all levels from level 0."""
        for level in range(1, len(self.shapes_yx)):
            missing = [p for p in self.rows(level) if not self.holds(level, *p)]
            for _ in ahead(pool, partial(self._make, level, reduce), missing):
                pass

    def _make(self, level: int, reduce: Reduce, place: tuple[int, int]) -> None:
        """Make one row from the two above it."""
        plane, row = place
        above = [2 * row, 2 * row + 1]
        if above[1] * TILE_PX >= self.shapes_yx[level - 1][0]:
            above.pop()
        pixels = np.concatenate([self.read(level - 1, plane, r) for r in above])
        odd = [(0, n % 2) for n in pixels.shape]
        even = np.pad(pixels, odd, mode="edge") if any(b for _, b in odd) else pixels
        self.write(level, plane, row, reduce(even))

    def _path(self, level: int, plane: int, row: int) -> Path:
        return self.folder / f"{level}-{plane}-{row}.tiles"


def level_shapes(shape_yx: tuple[int, int]) -> list[tuple[int, int]]:
    """Give (Y, X) of each level of the pyramid of a plane, level 0 first."""
    shapes = [shape_yx]
    while max(shapes[-1]) > _SMALLEST_LEVEL_PX:
        y, x = shapes[-1]
        shapes.append((-(-y // 2), -(-x // 2)))
    return shapes


def mode_of_four(pixels: UInt8) -> UInt8:
    """Take the most frequent of each 2 x 2 pixels, of equally frequent ones the first."""
    a, b, c, d = (pixels[i::2, j::2] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    out = np.where(c == d, c, a)
    out = np.where((b == c) | (b == d), b, out)
    return np.where((a == b) | (a == c) | (a == d), a, out)


def mean_of_four(pixels: UInt8) -> UInt8:
    """Average each 2 x 2 pixels, halves rounded up."""
    total = pixels[::2, ::2].astype(np.uint16)
    for i, j in ((0, 1), (1, 0), (1, 1)):
        total += pixels[i::2, j::2]
    return ((total + 2) // 4).astype(np.uint8)
