"""Tiles of an image and of its result, in levels, so that a browser can look at gigapixels.

All layers are TIFFs with one pyramid of 512 px tiles; a tile is read when it is asked for. Two PNG
tiles belong to each place. One shows the image, stretched to 8 bit. The other holds figures for the
page to draw with: red is the class id, green is 255 on superpixel outlines and less where a level
averages them, blue is the uncertainty. So opacity, colours and layers change without asking the
server again.
"""

import math
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import imagecodecs
import numpy as np

from spixgraph.arrays import Array, Float64, UInt8
from spixgraph.io.images import ImageSource
from spixgraph.io.pyramid import STRIP_PX, channel_writer, read_tiles
from spixgraph.predict.outputs import Results

TILE_PX = STRIP_PX
Layer = Literal["image", "data"]
_SAMPLED_BLOCKS = 16
_CUT_PERCENT = (0.2, 99.8)
_COLOURS = ("red", "green", "blue")


def results_in(folder: Path, *, probabilities: bool) -> Results:
    """Name the result files of a job."""
    return Results(
        folder / "mask.tif",
        folder / "probabilities.tif" if probabilities else None,
        folder / "uncertainty.tif",
        folder / "outlines.tif",
    )


def write_view(
    folder: Path, source: ImageSource, on_strip: Callable[[float], object] = lambda _: None
) -> None:
    """Write the image as it is shown, ``view.tif``.

    Parameters
    ----------
    folder : Path
    source : ImageSource
        Read once, strip by strip.
    on_strip : callable
        Told the share that is done, 0..1.
    """
    n_z, n_y, n_x, n_c = source.info.shape_zyxc
    limits = display_limits(source)
    n_shown, n_strips = (3 if n_c >= 3 else 1), -(-n_y // STRIP_PX)
    with TemporaryDirectory(prefix=".view.", dir=folder) as strips:
        writer = channel_writer(
            folder / "view.tif", (n_z, n_y, n_x), _COLOURS[:n_shown], folder=Path(strips)
        )
        for number in range(n_z * n_strips):
            z, strip = divmod(number, n_strips)
            rows = slice(strip * STRIP_PX, min((strip + 1) * STRIP_PX, n_y))
            pixels = source.read(slice(z, z + 1), rows, slice(None))[0]
            for c in range(n_shown):
                writer.write(c * n_z + z, strip, _stretch(pixels[..., c], *limits[c]))
            on_strip((number + 1) / (n_z * n_strips))
        writer.finish()


def display_limits(source: ImageSource) -> Float64:
    """Estimate (C, 2) intensities shown as black and white, from blocks spread over the image."""
    n_z, n_y, n_x, n_c = source.info.shape_zyxc
    side = max(1, round(math.sqrt(_SAMPLED_BLOCKS)))
    spots = []
    for i in range(side):
        for j in range(side):
            z = (i * side + j) * n_z // (side * side)
            y, x = i * max(0, n_y - 256) // side, j * max(0, n_x - 256) // side
            block = source.read(slice(z, z + 1), slice(y, y + 256), slice(x, x + 256))
            spots.append(block.reshape(-1, n_c))
    low, high = np.percentile(np.concatenate(spots).astype(np.float64), _CUT_PERCENT, axis=0)
    return np.stack([low, np.maximum(high, low + 1e-9)], axis=1)


def png_tile(
    folder: Path, layer: Layer, place: tuple[int, int, int, int], *, n_z: int
) -> bytes | None:
    """Make one PNG tile of a job.

    Parameters
    ----------
    folder : Path
        With the files of `write_view` and `results_in`.
    layer : {"image", "data"}
    place : four int
        Level, slice, row and column of the tile.
    n_z : int
        Slices of the image.

    Returns
    -------
    bytes, or None if there is no such tile.
    """
    level, z, y, x = place
    names = ["view"] if layer == "image" else ["mask", "outlines", "uncertainty"]
    tiles = [read_tiles(folder / f"{name}.tif", level, z, n_z, y, x) for name in names]
    planes = [tile for tile in tiles if tile is not None]
    return _png(np.concatenate(planes)) if planes else None


def _stretch(pixels: Array, low: float, high: float) -> UInt8:
    """Scale to 8 bit."""
    scaled = (pixels.astype(np.float32) - low) / (high - low)
    return (255 * scaled.clip(0, 1) + 0.5).astype(np.uint8)


def _png(planes: UInt8) -> bytes:
    """Encode (1 or 3, Y, X)."""
    pixels = planes[0] if len(planes) == 1 else np.moveaxis(planes, 0, -1)
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=3))
