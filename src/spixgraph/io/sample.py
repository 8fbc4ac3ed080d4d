"""Which boxes of an image its image-wide figures come from: all of it, or a sample.

Why a sample: limits and plans from every pixel would read a large image twice. The boxes depend on
the shape and the pixel size alone. Many small boxes: what lies in one box is alike, so their number
counts more than their pixels (decision 034).
"""

import math
from itertools import pairwise

from spixgraph.arrays import PixelSizeUm, ShapeZYX

SAMPLE_PX = 1 << 24
"""An image up to this size is its own sample."""
SPREAD_PX = 1 << 23
"""Pixels of the sample of a larger one; of a volume as many as `SAMPLE_PX`."""
MAX_SLICE_STEP = 3.0
_PART_ZYX: ShapeZYX = (1, 256, 256)
_CUBE_ZYX: ShapeZYX = (64, 64, 64)
_GOLDEN = (5**0.5 - 1) / 2

Slices = tuple[slice, slice, slice]


def slice_step(n_slices: int, pixel_size_um: PixelSizeUm | None) -> float | None:
    """Distance of two slices in units of the in-plane pixel; None if slices stand on their own.

    They do in a 2D image, where the pixel size is unknown, and where the step is over 3.
    """
    if n_slices == 1 or pixel_size_um is None:
        return None
    z, y, x = pixel_size_um
    step = z / (y * x) ** 0.5
    return step if step <= MAX_SLICE_STEP else None


def sample_boxes(shape_zyx: ShapeZYX, pixel_size_um: PixelSizeUm | None) -> list[Slices]:
    """Choose the boxes: one that covers a small image, else parts spread over it.

    Parameters
    ----------
    shape_zyx : three int
    pixel_size_um : three float, optional
        Tells volumes, sampled in cubes of 64, from slices, sampled in squares of 256.

    Returns
    -------
    list of three slices
        All pixels, or some `SPREAD_PX`, of a volume `SAMPLE_PX`.
    """
    if math.prod(shape_zyx) <= SAMPLE_PX:
        return [(slice(0, shape_zyx[0]), slice(0, shape_zyx[1]), slice(0, shape_zyx[2]))]
    if slice_step(shape_zyx[0], pixel_size_um) is not None:
        return _spread(shape_zyx, _CUBE_ZYX, SAMPLE_PX)
    return spread_parts(shape_zyx, SPREAD_PX)


def spread_parts(shape_zyx: ShapeZYX, n_px: int) -> list[Slices]:
    """Choose some `n_px` pixels in squares of 256, spread over the slices of an image."""
    return _spread(shape_zyx, _PART_ZYX, n_px)


def _spread(shape: ShapeZYX, part: ShapeZYX, n_px: int) -> list[Slices]:
    """Take one part out of each of equal runs of parts, in z, y, x order.

    The place in the run follows the golden ratio, so that no column is preferred.
    """
    sides = [_cuts(n, p) for n, p in zip(shape, part, strict=True)]
    n_parts = math.prod(len(cuts) for cuts in sides)
    n_wanted = min(n_parts, -(-n_px * n_parts // math.prod(shape)))
    edges = [i * n_parts // n_wanted for i in range(n_wanted + 1)]
    numbers = [a + int((i * _GOLDEN) % 1 * (b - a)) for i, (a, b) in enumerate(pairwise(edges))]
    _, n_y, n_x = (len(cuts) for cuts in sides)
    places = [(k // (n_y * n_x), k // n_x % n_y, k % n_x) for k in numbers]
    return [(sides[0][z], sides[1][y], sides[2][x]) for z, y, x in places]


def _cuts(n: int, part: int) -> list[slice]:
    """Cut 0..n at multiples of `part`; the last piece takes in a rest shorter than half of one.

    A sliver would have as many superpixels as its length, not its area, asks for.
    """
    starts = [i * part for i in range(max(1, (n + part // 2) // part))]
    return [slice(a, b) for a, b in pairwise([*starts, n])]
