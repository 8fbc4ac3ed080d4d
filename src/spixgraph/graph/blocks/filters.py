"""What is quadratic in the levels, and the maps of the pixel decoder, at one octave; in float32.

What reaches some cells further than its output does so along z in a volume only.
"""

import numpy as np

from spixgraph.arrays import Array
from spixgraph.graph.blocks.eigenvalues import eigenvalues
from spixgraph.superpixels.basins.jit import kernel

_HALF, _QUARTER, _MIDDLE = np.float32(0.5), np.float32(0.25), np.float32(16384)


@kernel
def write_slopes(values: Array, z_slope: float, steep: Array) -> None:
    """Write the squared gradient, summed over channels, into (Z, Y, X) float32.

    `values` (C, Z', Y', X') reach one cell further. `z_slope` (float32) is the length of an
    in-plane cell over the distance of two slices of cells.
    """
    deep = (values.shape[1] - steep.shape[0]) // 2
    for z in range(steep.shape[0]):
        for y in range(steep.shape[1]):
            to = steep[z, y]
            to[:] = 0
            for c in range(values.shape[0]):
                plane = values[c, z + deep]
                up, line, down = plane[y], plane[y + 1], plane[y + 2]
                front, back = values[c, z, y + 1], values[c, z + 2 * deep, y + 1]
                for x in range(to.size):
                    slope_z = (back[x + 1] - front[x + 1]) * z_slope
                    slope_y, slope_x = down[x + 1] - up[x + 1], line[x + 2] - line[x]
                    square = slope_z * slope_z + slope_y * slope_y + slope_x * slope_x
                    to[x] += _QUARTER * square


@kernel
def write_square(values: Array, reach: int, square: Array) -> None:
    """Write squared distances from the middle level, summed over channels, (Z, Y, X) float32.

    `values` (C, Z', Y', X') reach `reach` cells further.
    """
    deep = (values.shape[1] - square.shape[0]) // 2
    for z in range(square.shape[0]):
        for y in range(square.shape[1]):
            to = square[z, y]
            to[:] = 0
            for c in range(values.shape[0]):
                line = values[c, z + deep, y + reach, reach:]
                for x in range(to.size):
                    value = line[x] - _MIDDLE
                    to[x] += value * value


@kernel
def write_products(levels: Array, products: Array) -> None:
    """Write products yy, yx, xx of in-plane slopes, summed over channels, (3, Z, Y, X) float32.

    `levels` is (C, Z, Y, X); on its rim products are 0.
    """
    products[...] = 0
    n_y, n_x = levels.shape[2:]
    for z in range(levels.shape[1]):
        for y in range(1, n_y - 1):
            yy, yx, xx = products[0, z, y], products[1, z, y], products[2, z, y]
            for c in range(levels.shape[0]):
                up, line, down = levels[c, z, y - 1], levels[c, z, y], levels[c, z, y + 1]
                for x in range(1, n_x - 1):
                    slope_y = (down[x] - up[x]) * _HALF
                    slope_x = (line[x + 1] - line[x - 1]) * _HALF
                    yy[x] += slope_y * slope_y
                    yx[x] += slope_y * slope_x
                    xx[x] += slope_x * slope_x


@kernel
def write_hessian(grey: Array, y: int, factor: float, low: Array, high: Array) -> None:
    """Write the eigenvalues of the in-plane Hessian of one line, (X,) float32, times `factor`.

    `grey` (Y', X') reaches one cell further than the line `y`.
    """
    up, line, down = grey[y], grey[y + 1], grey[y + 2]
    for x in range(low.size):
        here = line[x + 1]
        yy = (up[x + 1] - (here + here) + down[x + 1]) * factor
        xx = (line[x] - (here + here) + line[x + 2]) * factor
        yx = ((down[x + 2] - down[x]) - (up[x + 2] - up[x])) * _QUARTER * factor
        middle, lean = (yy + xx) * _HALF, (yy - xx) * _HALF
        half = np.sqrt(lean * lean + yx * yx)
        low[x] = middle - half
        high[x] = middle + half


@kernel
def write_hessian_3d(
    grey: Array, z: int, y: int, z_slope: float, factor: float, low: Array, mid: Array, high: Array
) -> None:
    """Write the eigenvalues of the Hessian of one line in a volume, (X,) float32, times `factor`.

    `grey` (Z', Y', X') reaches one cell further than the line `z`, `y`; `z_slope` as for
    `write_slopes`.
    """
    front_up, front, front_down = grey[z, y], grey[z, y + 1], grey[z, y + 2]
    up, line, down = grey[z + 1, y], grey[z + 1, y + 1], grey[z + 1, y + 2]
    back_up, back, back_down = grey[z + 2, y], grey[z + 2, y + 1], grey[z + 2, y + 2]
    along_z, across = z_slope * z_slope * factor, z_slope * _QUARTER * factor
    for x in range(low.size):
        twice = line[x + 1] + line[x + 1]
        zz = np.float64((front[x + 1] - twice + back[x + 1]) * along_z)  # equal ones ask for digits
        yy = np.float64((up[x + 1] - twice + down[x + 1]) * factor)
        xx = np.float64((line[x] - twice + line[x + 2]) * factor)
        zy = ((back_down[x + 1] - back_up[x + 1]) - (front_down[x + 1] - front_up[x + 1])) * across
        zx = ((back[x + 2] - back[x]) - (front[x + 2] - front[x])) * across
        yx = ((down[x + 2] - down[x]) - (up[x + 2] - up[x])) * _QUARTER * factor
        low[x], mid[x], high[x] = eigenvalues(zz, zy, zx, yy, yx, xx)


@kernel
def write_edges(
    once: Array, twice: Array, steep: Array, z_slope: float, share: float, unit: float, maps: Array
) -> None:
    """Write gradient, band-pass and curvatures, over `unit`: (4, Z, Y, X) float32, 5 in a volume.

    The curvatures are the eigenvalues of the Hessian, in slices of the in-plane one, which tell
    sheets and lines from edges and spots. `once` and `twice` are sums of channels and reach 3 and
    1 cells further, `steep` is the sum of their squared gradients, `share` (float32) is one over
    their number, `z_slope` as for `write_slopes`.
    """
    deep = 1 if once.shape[0] > twice.shape[0] else 0
    scale = np.float32(1 / unit)
    for z in range(maps.shape[1]):
        for y in range(maps.shape[2]):
            line, fine = twice[z + deep, y + 1], once[z + 3 * deep, y + 3]
            squares, to_steep, to_band = steep[z, y], maps[0, z, y], maps[1, z, y]
            for x in range(to_band.size):
                to_steep[x] = np.sqrt(squares[x] * share) * scale
                to_band[x] = (fine[x + 3] - line[x + 1]) * share * scale
            if deep:
                rows = maps[2, z, y], maps[3, z, y], maps[4, z, y]
                write_hessian_3d(twice, z, y, z_slope, share * scale, *rows)
            else:
                write_hessian(twice[z], y, share * scale, maps[2, z, y], maps[3, z, y])


@kernel
def write_level(twice: Array, deep: int, unit: float, out: Array) -> None:
    """Write a channel, which reaches one cell further, over `unit`, into (Z, Y, X) float32."""
    scale = np.float32(1 / unit)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            line, to = twice[z + deep, y + 1], out[z, y]
            for x in range(to.size):
                to[x] = line[x + 1] * scale


@kernel
def scale_block(tile: Array, skip_z: int, skip: int, unit: float, out: Array) -> None:
    """Write the block of a (Z', Y', X') tile, over `unit`, as float32."""
    scale = np.float32(1 / unit)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            line, to = tile[z + skip_z, y + skip, skip:], out[z, y]
            for x in range(to.size):
                to[x] = np.float32(line[x]) * scale
