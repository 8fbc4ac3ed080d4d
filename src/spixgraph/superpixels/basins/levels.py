"""Intensities as 15-bit integers: every input takes one integer path from here on."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from spixgraph.arrays import Array, ImageZYXC, ShapeZYX
from spixgraph.superpixels.basins.grid import Box

TOP = 32767
UInt16 = npt.NDArray[np.uint16]


class LevelSource(Protocol):
    """An image of integer intensities 0..TOP that gives any box of itself."""

    shape_zyx: ShapeZYX
    n_channels: int

    def read(self, box: Box) -> UInt16:
        """Return (C, Z, Y, X) uint16; `box` lies inside the image."""
        ...


class ImageLevels:
    """A (Z, Y, X, C) float32 image in memory, scaled to 0..1."""

    def __init__(self, image: ImageZYXC) -> None:
        self._image = image
        z, y, x, self.n_channels = image.shape
        self.shape_zyx: ShapeZYX = (z, y, x)

    def read(self, box: Box) -> UInt16:
        """See `LevelSource`."""
        return to_levels(self._image[box])


def to_levels(image: Array) -> UInt16:
    """Turn (Z, Y, X, C) float32 of 0..1 into (C, Z, Y, X) uint16 of 0..32767, rounded to even."""
    levels = np.rint(np.clip(image, 0, 1) * np.float32(TOP)).astype(np.uint16)
    return np.ascontiguousarray(np.moveaxis(levels, -1, 0))


def read_with_halo(source: LevelSource, box: Box, halo_zyx: ShapeZYX) -> UInt16:
    """Read a box and what is around it; the border of the image is repeated outwards."""
    spans = list(zip(box, halo_zyx, source.shape_zyx, strict=True))
    wide = tuple(slice(max(0, s.start - h), min(n, s.stop + h)) for s, h, n in spans)
    missing = [
        (h - (s.start - w.start), h - (w.stop - s.stop))
        for (s, h, _), w in zip(spans, wide, strict=True)
    ]
    tile = source.read((wide[0], wide[1], wide[2]))
    if any(a or b for a, b in missing):
        tile = np.pad(tile, [(0, 0), *missing], mode="edge")
    return np.ascontiguousarray(tile)
