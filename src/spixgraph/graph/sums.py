"""What is known about each superpixel, kept as sums, so that parts of an image add up."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Float32, Float64, ImageZYXC, Int32, Int64, LabelsZYX, ShapeZYX
from spixgraph.errors import InputError
from spixgraph.graph.pooling import add_geometry, add_histogram, add_moments

N_BINS = 64


@dataclass(frozen=True, slots=True, eq=False)
class RegionSums:
    """Sums over the pixels of each of n superpixels; ``a + b`` holds the pixels of both.

    Attributes
    ----------
    n_pixels : (n,) int64
    n_border : (n,) int64
        Pixels on the border of the image; in a volume also on its first and last slice.
    position : (3, n) int64
        Sums of z, y, x in pixels of the whole image.
    position_sq : (6, n) int64
        Sums of zz, zy, zx, yy, yx, xx.
    histogram : (C, n, 64) int32
        Intensities 0..1 in 64 bins; values outside count in the first or last bin.
    names : tuple of str
        Names of the M maps.
    total, total_sq : (M, n) float64
        Sums of the values of each map and of their squares.
    """

    n_pixels: Int64
    n_border: Int64
    position: Int64
    position_sq: Int64
    histogram: Int32
    names: tuple[str, ...]
    total: Float64
    total_sq: Float64

    def __add__(self, other: "RegionSums") -> "RegionSums":
        if self.names != other.names or self.histogram.shape != other.histogram.shape:
            raise InputError(
                f"sums of {self.histogram.shape} {self.names} and of "
                f"{other.histogram.shape} {other.names} do not add up; make both with one recipe"
            )
        return RegionSums(
            self.n_pixels + other.n_pixels,
            self.n_border + other.n_border,
            self.position + other.position,
            self.position_sq + other.position_sq,
            self.histogram + other.histogram,
            self.names,
            self.total + other.total,
            self.total_sq + other.total_sq,
        )

    def mean(self, name: str) -> Float64:
        """Mean (n,) of the map `name`; 0 for an id without pixels."""
        return self.total[self.names.index(name)] / np.maximum(self.n_pixels, 1)

    def deviation(self, name: str) -> Float64:
        """Return the standard deviation (n,) of the map `name` within each superpixel."""
        mean_sq = self.total_sq[self.names.index(name)] / np.maximum(self.n_pixels, 1)
        return np.sqrt(np.maximum(mean_sq - self.mean(name) ** 2, 0))

    def centroid_px(self) -> Float64:
        """Mean position (n, 3) in z, y, x."""
        return (self.position / np.maximum(self.n_pixels, 1)).T

    def intensity(self) -> Float64:
        """Mean intensity (n, C)."""
        channels = range(len(self.histogram))
        return np.stack([self.mean(f"c{i}_intensity") for i in channels], axis=1)


def region_sums(
    labels: LabelsZYX,
    image: ImageZYXC,
    maps: Iterable[tuple[str, Float32]],
    n_regions: int,
    *,
    origin_zyx: ShapeZYX = (0, 0, 0),
    shape_zyx: ShapeZYX | None = None,
) -> RegionSums:
    """Add up a block of an image, or all of it.

    Parameters
    ----------
    labels : (Z, Y, X) int32
        Ids 0..n_regions-1 of the block; ids of other blocks may be absent.
    image : (Z, Y, X, C) float32
        The block, scaled to 0..1.
    maps : iterable of (name, values)
        Each is used and let go before the next is made. Values are (Z, Y, X) float32, or smaller
        by powers of two.
    n_regions : int
    origin_zyx : tuple of int
        Place of the block in the whole image.
    shape_zyx : tuple of int, optional
        Shape of the whole image; the block by default.

    Raises
    ------
    InputError
        If shapes differ or an id is out of range.
    """
    if labels.shape != image.shape[:3]:
        raise InputError(f"labels are {labels.shape}, the image is {image.shape[:3]}")
    if labels.min() < 0 or labels.max() >= n_regions:
        raise InputError(f"labels must be 0..{n_regions - 1}, got {labels.min()}..{labels.max()}")
    n_pixels, n_border = np.zeros((2, n_regions), np.int64)
    position, position_sq = np.zeros((3, n_regions), np.int64), np.zeros((6, n_regions), np.int64)
    whole = shape_zyx or labels.shape
    add_geometry(labels, origin_zyx, whole, n_pixels, n_border, position, position_sq)
    histogram = np.zeros((image.shape[-1], n_regions, N_BINS), np.int32)
    for channel, counts in zip(np.moveaxis(image, -1, 0), histogram, strict=True):
        add_histogram(labels, channel, counts)
    names, total, total_sq = _moments(labels, maps, n_regions)
    return RegionSums(n_pixels, n_border, position, position_sq, histogram, names, total, total_sq)


def _moments(
    labels: LabelsZYX, maps: Iterable[tuple[str, Float32]], n_regions: int
) -> tuple[tuple[str, ...], Float64, Float64]:
    """Pool each map as soon as it is made."""
    names, sums = [], []
    for name, values in maps:
        moments = np.zeros((2, n_regions))
        add_moments(labels, values, moments[0], moments[1])
        names.append(name)
        sums.append(moments)
    total, total_sq = np.stack(sums, axis=1) if sums else np.zeros((2, 0, n_regions))
    return tuple(names), total, total_sq
