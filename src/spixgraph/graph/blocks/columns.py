"""From sums to the columns of a node."""

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel

_PIXEL_VARIANCE = 1 / 12
_BALL = 4 / 3 * np.pi * 5**1.5


@kernel
def write_moments(
    total: Array, places: Array, zero: Array, unit: Array, n_plain: int, x: Array, first: int
) -> None:
    """Write means and deviations into columns of x (n, F) float32, from `first` on.

    `total` is (n, 2 M): sums of M maps, then of their squares; `zero` is what stands for 0 and
    `unit` for 1 in each, and may be shorter than M. Of the first `n_plain` maps the mean alone; of
    the others mean, deviation, mean, deviation ...
    """
    n_maps, squares = zero.size, total.shape[1] // 2
    for i in range(x.shape[0]):
        share = 1.0 / places[i, 0]
        column = first
        for m in range(n_maps):
            mean = total[i, m] * share
            x[i, column] = (mean - zero[m]) / unit[m]
            column += 1
            if m >= n_plain:
                variance = total[i, squares + m] * share - mean * mean
                x[i, column] = np.sqrt(max(variance, 0.0)) / unit[m]
                column += 1


@kernel
def write_shape(places: Array, is_2d: bool, x: Array, first: int) -> None:
    """Write log_n_pixels, border, elongation and compactness from `regions.add_places`.

    Elongation is 0 where round, towards 1 where long; compactness is the size against that of the
    ellipse or ellipsoid of the same second moments, 1 where full. A pixel is a square, not a point:
    1/12 is its own variance.
    """
    for i in range(x.shape[0]):
        row = places[i]
        n = np.float64(row[0])
        z, y, x_ = row[2] / n, row[3] / n, row[4] / n
        zz = row[5] / n - z * z + _PIXEL_VARIANCE
        zy, zx = row[6] / n - z * y, row[7] / n - z * x_
        yy = row[8] / n - y * y + _PIXEL_VARIANCE
        yx = row[9] / n - y * x_
        xx = row[10] / n - x_ * x_ + _PIXEL_VARIANCE
        if is_2d:
            middle, half = (yy + xx) / 2, np.sqrt(((yy - xx) / 2) ** 2 + yx * yx)
            low = max(middle - half, _PIXEL_VARIANCE)
            high = max(middle + half, _PIXEL_VARIANCE)
            full = 4 * np.pi * np.sqrt(low * high)
        else:
            low, high = _smallest_and_largest(zz, zy, zx, yy, yx, xx)
            product = zz * (yy * xx - yx * yx) - zy * (zy * xx - yx * zx) + zx * (zy * yx - yy * zx)
            full = _BALL * np.sqrt(max(product, _PIXEL_VARIANCE**3))
        x[i, first] = np.log(n)
        x[i, first + 1] = row[1] / n
        x[i, first + 2] = 1 - np.sqrt(low / high)
        x[i, first + 3] = n / full


@kernel
def _smallest_and_largest(
    zz: float, zy: float, zx: float, yy: float, yx: float, xx: float
) -> tuple[float, float]:
    """Eigenvalues of a symmetric 3 x 3 matrix, not below the variance of a pixel.

    By angles, and not as `eigenvalues.eigenvalues`, which is off by 1e-7 of the largest: of a line
    of pixels, that is much of the smallest.

    Smith, Eigenvalues of a symmetric 3 x 3 matrix, CACM 1961, doi:10.1145/355578.366316.
    """
    mean = (zz + yy + xx) / 3
    a, b, c = zz - mean, yy - mean, xx - mean
    spread = np.sqrt((a * a + b * b + c * c + 2 * (zy * zy + zx * zx + yx * yx)) / 6)
    if spread == 0:
        return mean, mean
    determinant = a * (b * c - yx * yx) - zy * (zy * c - yx * zx) + zx * (zy * yx - b * zx)
    angle = np.arccos(min(max(determinant / (2 * spread**3), -1.0), 1.0)) / 3
    high = mean + 2 * spread * np.cos(angle)
    low = mean + 2 * spread * np.cos(angle + 2 * np.pi / 3)
    return max(low, _PIXEL_VARIANCE), max(high, _PIXEL_VARIANCE)
