"""Compiled passes over the pixels that add up values per superpixel.

Every pass goes through the pixels in C order and adds in float64 or int64, so its result is the
same on every run.
"""

import numpy as np
from numba import njit

from spixgraph.arrays import Float32, Float64, Int32, Int64, LabelsZYX, ShapeZYX


def add_moments(labels: LabelsZYX, values: Float32, total: Float64, total_sq: Float64) -> None:
    """Add values and their squares to the sums of the superpixel below each pixel.

    Parameters
    ----------
    labels : (Z, Y, X) int32
    values : (Z', Y', X') float32
        Stretched over the extent of `labels` by linear interpolation, without making the large
        array; a coarse pixel spans a power of two of fine ones, the last may reach beyond.
    total, total_sq : (n,) float64
        Changed in place.
    """
    low, weight = zip(*map(_taps, labels.shape, values.shape), strict=True)
    _add_moments(labels, values, *low, *weight, total, total_sq)


def _taps(n_fine: int, n_coarse: int) -> tuple[Int64, Float32]:
    """Lower coarse neighbour of each fine pixel along one axis, and the weight of the upper one."""
    step = 1
    while step * n_coarse < n_fine:
        step *= 2
    place = np.clip((np.arange(n_fine) + 0.5) / step - 0.5, 0, n_coarse - 1)
    low = place.astype(np.int64)
    return low, (place - low).astype(np.float32)


@njit(cache=True, nogil=True)
def _add_moments(
    labels: LabelsZYX,
    values: Float32,
    low_z: Int64,
    low_y: Int64,
    low_x: Int64,
    weight_z: Float32,
    weight_y: Float32,
    weight_x: Float32,
    total: Float64,
    total_sq: Float64,
) -> None:
    """Interpolate one line of coarse pixels at a time, then the fine pixels along it."""
    n_z, n_y, n_x = labels.shape
    line = np.empty(values.shape[2] + 1, np.float32)
    for z in range(n_z):
        z0, wz = low_z[z], weight_z[z]
        z1 = min(z0 + 1, values.shape[0] - 1)
        for y in range(n_y):
            y0, wy = low_y[y], weight_y[y]
            y1 = min(y0 + 1, values.shape[1] - 1)
            for x in range(values.shape[2]):
                front = values[z0, y0, x] + wy * (values[z0, y1, x] - values[z0, y0, x])
                back = values[z1, y0, x] + wy * (values[z1, y1, x] - values[z1, y0, x])
                line[x] = front + wz * (back - front)
            line[-1] = line[-2]
            for x in range(n_x):
                x0 = low_x[x]
                value = np.float64(line[x0] + weight_x[x] * (line[x0 + 1] - line[x0]))
                total[labels[z, y, x]] += value
                total_sq[labels[z, y, x]] += value * value


@njit(cache=True, nogil=True)
def add_histogram(labels: LabelsZYX, values: Float32, histogram: Int32) -> None:
    """Count (Z, Y, X) values of 0..1 in the (n, B) bins of each superpixel, in place."""
    n_bins = histogram.shape[1]
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                place = int(values[z, y, x] * n_bins)
                histogram[labels[z, y, x], min(max(place, 0), n_bins - 1)] += 1


@njit(cache=True, nogil=True)
def add_geometry(
    labels: LabelsZYX,
    origin: ShapeZYX,
    shape: ShapeZYX,
    n_pixels: Int64,
    n_border: Int64,
    position: Int64,
    position_sq: Int64,
) -> None:
    """Add sizes, border pixels and coordinates to second order, in place.

    `origin` is the place of the block `labels` in an image of `shape`. `position` is (3, n) for
    z, y, x and `position_sq` (6, n) for zz, zy, zx, yy, yx, xx.
    """
    for z in range(origin[0], origin[0] + labels.shape[0]):
        edge_z = shape[0] > 1 and (z == 0 or z == shape[0] - 1)
        for y in range(origin[1], origin[1] + labels.shape[1]):
            edge_y = edge_z or y == 0 or y == shape[1] - 1
            for x in range(origin[2], origin[2] + labels.shape[2]):
                i = labels[z - origin[0], y - origin[1], x - origin[2]]
                n_pixels[i] += 1
                n_border[i] += edge_y or x == 0 or x == shape[2] - 1
                position[0, i] += z
                position[1, i] += y
                position[2, i] += x
                position_sq[0, i] += z * z
                position_sq[1, i] += z * y
                position_sq[2, i] += z * x
                position_sq[3, i] += y * y
                position_sq[4, i] += y * x
                position_sq[5, i] += x * x
