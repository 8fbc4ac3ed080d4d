"""Images of any size on disk, made from one small image that is mirrored and tiled."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from spixgraph.arrays import Array
from spixgraph.files import atomic_path
from spixgraph.io.dataset import read_dataset
from spixgraph.io.images import open_image
from spixgraph.io.phantoms import make_phantom
from spixgraph.io.source import ImageSource

ALL = (slice(None), slice(None), slice(None))
_TILE_PX = 512


def mirrored(pixels: Array) -> Array:
    """Put (Y, X) pixels beside their mirror images, so that copies of the result fit together."""
    wide = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    return np.concatenate([wide, wide[::-1]])


def mosaic(pixels: Array, size: int) -> Array:
    """Mirror and tile (Y, X) pixels to a square of `size` pixels, in memory."""
    tile = mirrored(pixels)
    rows, columns = (np.arange(size) % n for n in tile.shape)
    return np.ascontiguousarray(tile[np.ix_(rows, columns)])


def base_image(data: Path | None, name: str) -> tuple[str, Array]:
    """Return the first grey image of a data set as (Y, X), or a made-up one without `data`."""
    if data is None:
        return "a phantom", _plane(make_phantom("colonies", (1, 512, 512), seed=0))
    item = read_dataset(data / name).items[0]
    with open_image(item.image) as source:
        return f"{item.image.stem} of {name}", _plane(source)


def _plane(source: ImageSource) -> Array:
    return np.ascontiguousarray(source.read(*ALL)[0, ..., 0])


def edge_of(megapixels: float) -> int:
    """Side of a square of so many megapixels, in whole tiles from one tile on."""
    edge = math.sqrt(megapixels * 1e6)
    return max(1, round(edge / _TILE_PX)) * _TILE_PX if edge > _TILE_PX else round(edge)


def write_mosaic(pixels: Array, size: int, path: Path) -> None:
    """Write a square mosaic as an uncompressed tiled TIFF; one that is there stays."""
    if path.exists():
        return
    tile = mirrored(pixels)
    starts = range(0, size, _TILE_PX)

    def tiles() -> Iterator[Array]:
        for y in starts:
            for x in starts:
                rows, columns = (
                    np.arange(start, min(start + _TILE_PX, size)) % n
                    for start, n in zip((y, x), tile.shape, strict=True)
                )
                yield np.pad(
                    tile[np.ix_(rows, columns)],
                    [(0, _TILE_PX - len(rows)), (0, _TILE_PX - len(columns))],
                )

    with atomic_path(path) as part:
        tifffile.imwrite(
            part, tiles(), shape=(size, size), dtype=tile.dtype, tile=(_TILE_PX, _TILE_PX),
            bigtiff=True, photometric="minisblack",
        )  # fmt: skip
