"""Tiles of an image and of its mask, in levels, so that a browser can look at gigapixels.

Two PNG tiles belong to each place. One shows the image, stretched to 8 bit. The other holds
figures for the page to draw with: red is the class id, green is 255 on superpixel outlines, blue
is the uncertainty. So opacity, colours and layers change without asking the server again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np

from spixgraph.arrays import Array, Float32, Float64, LabelsZYX, MaskZYX, ShapeZYX, UInt8
from spixgraph.io.images import ImageSource
from spixgraph.predict.driver import Segmentation, class_probabilities

TILE_PX = 512
_SAMPLED_BLOCKS = 16
_CUT_PERCENT = (0.2, 99.8)


@dataclass(frozen=True, slots=True)
class Levels:
    """How an image of (Z, Y, X) is cut: level 0 is the image, each further one half of it."""

    shape_zyx: ShapeZYX

    @property
    def n(self) -> int:
        """Number of levels; the last one is a single tile."""
        longest = max(self.shape_zyx[1:])
        return 1 + max(0, math.ceil(math.log2(longest / TILE_PX)))

    def size_yx(self, level: int) -> tuple[int, int]:
        """Pixels of one slice at a level."""
        _, y, x = self.shape_zyx
        return -(-y >> level), -(-x >> level)

    def tiles_yx(self, level: int) -> tuple[int, int]:
        """Tiles along y and x."""
        y, x = self.size_yx(level)
        return -(-y // TILE_PX), -(-x // TILE_PX)


def tile_path(folder: Path, layer: str, level: int, z: int, y: int, x: int) -> Path:
    """Where one tile lies."""
    return folder / layer / str(level) / str(z) / f"{y}_{x}.png"


def write_tiles(
    folder: Path,
    source: ImageSource,
    found: Segmentation,
    *,
    on_slice: Callable[[float], object] = lambda _: None,
) -> None:
    """Write all tiles of an image and its segmentation.

    Parameters
    ----------
    folder : Path
        Gets `image/<level>/<z>/<y>_<x>.png` and `data/...`.
    source : ImageSource
    found : Segmentation
    on_slice : callable
        Told the share that is done, 0..1.
    """
    n_z = found.mask.shape[0]
    levels = Levels((n_z, found.mask.shape[1], found.mask.shape[2]))
    limits = display_limits(source)
    doubt = uncertainty(found.logits)
    for z in range(n_z):
        _write_image(folder, levels, source, z, limits)
        _write_data(folder, levels, found.mask, found.labels, doubt, z)
        on_slice((z + 1) / n_z)


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


def uncertainty(logits: Float32) -> UInt8:
    """Return 0 where a superpixel is sure of its class, 255 where all classes are as likely."""
    likeliest = class_probabilities(logits).max(axis=1)
    n_classes = max(2, logits.shape[1])
    share = (1 - likeliest) * n_classes / (n_classes - 1)
    return np.round(255 * share.clip(0, 1)).astype(np.uint8)


def _write_image(
    folder: Path, levels: Levels, source: ImageSource, z: int, limits: Float64
) -> None:
    """Write one slice: read each block once, halve it for the next level as it comes."""
    plane: UInt8 | None = None
    for level in range(levels.n):
        below = np.zeros((*levels.size_yx(level + 1), _shown(len(limits))), np.uint8)
        for y, x in np.ndindex(levels.tiles_yx(level)):
            rows, columns = _span(y), _span(x)
            if plane is None:
                tile = _stretch(source.read(slice(z, z + 1), rows, columns)[0], limits)
            else:
                tile = plane[rows, columns]
            _write_png(tile_path(folder, "image", level, z, y, x), tile)
            half = _halved(tile)
            top, left = y * TILE_PX // 2, x * TILE_PX // 2
            below[top : top + half.shape[0], left : left + half.shape[1]] = half
        plane = below


def _write_data(
    folder: Path, levels: Levels, mask: MaskZYX, labels: LabelsZYX, doubt: UInt8, z: int
) -> None:
    for level in range(levels.n):
        step = 1 << level
        classes, superpixels = mask[z, ::step, ::step], labels[z, ::step, ::step]
        for y, x in np.ndindex(levels.tiles_yx(level)):
            ids = superpixels[_span(y, 1), _span(x, 1)]
            height, width = classes[_span(y), _span(x)].shape
            tile = np.zeros((height, width, 3), np.uint8)
            tile[..., 0] = classes[_span(y), _span(x)]
            tile[..., 1] = 255 * _borders(ids)[:height, :width]
            tile[..., 2] = doubt[ids[:height, :width]]
            _write_png(tile_path(folder, "data", level, z, y, x), tile)


def _span(tile: int, beyond: int = 0) -> slice:
    return slice(tile * TILE_PX, (tile + 1) * TILE_PX + beyond)


def _borders(ids: Array) -> Array:
    """Whether the right or lower neighbour is another superpixel."""
    marked = np.zeros(ids.shape, bool)
    marked[:-1] |= ids[:-1] != ids[1:]
    marked[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    return marked


def _shown(n_channels: int) -> int:
    """Count the channels that are shown: the first three, or the first one."""
    return 3 if n_channels >= 3 else 1


def _stretch(block: Array, limits: Float64) -> UInt8:
    """Scale (Y, X, C) to 8 bit."""
    n = _shown(len(limits))
    low, high = limits[:n].T
    scaled = (block[..., :n].astype(np.float32) - low) / (high - low)
    return (255 * scaled.clip(0, 1) + 0.5).astype(np.uint8)


def _halved(tile: UInt8) -> UInt8:
    """Mean of 2 x 2 pixels; an odd last row or column counts double."""
    even = np.pad(tile, ((0, tile.shape[0] % 2), (0, tile.shape[1] % 2), (0, 0)), mode="edge")
    wide = even.astype(np.uint16)
    total = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
    return (total // 4).astype(np.uint8)


def _write_png(path: Path, tile: UInt8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = tile[..., 0] if tile.shape[-1] == 1 else tile
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=3))
