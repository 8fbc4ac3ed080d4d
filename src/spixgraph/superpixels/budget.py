"""How many superpixels an image should have, from the size of the annotated objects."""

from collections.abc import Iterable

import numpy as np

from spixgraph.arrays import NOT_ANNOTATED, Float64, Int64, MaskZYX

WIDTHS_PER_SUPERPIXEL = 1 / 4
"""Edge of a superpixel in units of the width of the thinnest class."""
LIMITS_2D = (1000.0, 8000.0)
LIMITS_3D = (500.0, 8000.0)
_CAUCHY_CROFTON = np.pi / 4  # length of a border per pixel side along it, over all directions


def nodes_per_megapixel_for(masks: Iterable[MaskZYX], *, is_volume: bool) -> float:
    """Choose a node budget so that the thinnest class is about four superpixels wide.

    The width of a class is four times its area over the length of its border in the slices: the
    diameter of disks, twice the thickness of bands. Other classes around it do not matter, so a
    class of thin walls and one of small grains both ask for small superpixels.

    Parameters
    ----------
    masks : iterable of (Z, Y, X) uint8
        Class ids; 255 is not annotated and bounds nothing. Of the training images.
    is_volume : bool
        True where superpixels reach across slices: the budget is then per million voxels of cubes,
        not of squares.

    Returns
    -------
    float
        Within `LIMITS_2D` or `LIMITS_3D`, rounded to two digits; the lower limit where no class
        has a border.
    """
    area, border = np.zeros(NOT_ANNOTATED, np.int64), np.zeros(NOT_ANNOTATED, np.int64)
    for mask in masks:
        area += np.bincount(mask.ravel(), minlength=NOT_ANNOTATED + 1)[:NOT_ANNOTATED]
        border += _sides(mask)
    low, high = LIMITS_3D if is_volume else LIMITS_2D
    thinnest = _widths(area, border).min(initial=np.inf)
    edge_px = max(thinnest * WIDTHS_PER_SUPERPIXEL, 1.0)
    wanted = 1e6 / edge_px ** (3 if is_volume else 2)
    return float(f"{min(max(wanted, low), high):.2g}")


def _sides(mask: MaskZYX) -> Int64:
    """Count the pixel sides along y and x between each class and other annotated pixels."""
    sides = np.zeros(NOT_ANNOTATED, np.int64)
    for a, b in ((mask[:, 1:], mask[:, :-1]), (mask[:, :, 1:], mask[:, :, :-1])):
        meet = (a != b) & (a != NOT_ANNOTATED) & (b != NOT_ANNOTATED)
        for side in (a, b):
            sides += np.bincount(side[meet], minlength=NOT_ANNOTATED)
    return sides


def _widths(area: Int64, border: Int64) -> Float64:
    """Widths in pixels of the classes that have a border."""
    bordered = border > 0
    return 4 * area[bordered] / (border[bordered] * _CAUCHY_CROFTON)
