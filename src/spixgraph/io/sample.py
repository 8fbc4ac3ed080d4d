"""Which boxes of an image its image-wide figures come from: all of it, or 16 megapixels.

Why a sample: limits and plans from every pixel would read a large image twice. The boxes depend on
the shape and the pixel size alone.
"""

import math
from itertools import pairwise

import numpy as np

from spixgraph.arrays import PixelSizeUm, ShapeZYX

SAMPLE_PX = 1 << 24
MAX_SLICE_STEP = 3.0
_CELL_ZYX: ShapeZYX = (1, 512, 512)
_VOLUME_CELL_ZYX: ShapeZYX = (64, 64, 64)
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
    """Choose the boxes: one that covers a small image, else cells spread over it.

    Parameters
    ----------
    shape_zyx : three int
    pixel_size_um : three float, optional
        Tells volumes, sampled in cubes of 64, from slices, sampled in squares of 512.

    Returns
    -------
    list of three slices
        Some `SAMPLE_PX` pixels. One cell out of each of equal runs of cells; the place in the run
        follows the golden ratio, so that no column is preferred.
    """
    n_px = math.prod(shape_zyx)
    if n_px <= SAMPLE_PX:
        return [(slice(0, shape_zyx[0]), slice(0, shape_zyx[1]), slice(0, shape_zyx[2]))]
    volume = slice_step(shape_zyx[0], pixel_size_um) is not None
    cell = _VOLUME_CELL_ZYX if volume else _CELL_ZYX
    n_cells_zyx = tuple(-(-n // c) for n, c in zip(shape_zyx, cell, strict=True))
    n_cells = math.prod(n_cells_zyx)
    n_wanted = -(-SAMPLE_PX * n_cells // n_px)
    edges = [i * n_cells // n_wanted for i in range(n_wanted + 1)]
    numbers = [a + int((i * _GOLDEN) % 1 * (b - a)) for i, (a, b) in enumerate(pairwise(edges))]
    return [_cell_box(number, n_cells_zyx, cell, shape_zyx) for number in numbers]


def _cell_box(number: int, n_cells_zyx: tuple[int, ...], cell: ShapeZYX, shape: ShapeZYX) -> Slices:
    place = np.unravel_index(number, n_cells_zyx)
    z, y, x = (
        slice(int(i) * c, min((int(i) + 1) * c, n))
        for i, c, n in zip(place, cell, shape, strict=True)
    )
    return z, y, x
