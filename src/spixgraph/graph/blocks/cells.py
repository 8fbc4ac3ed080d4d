"""Texture of one octave, cell by cell, added up over superpixels.

A map is constant over a cell. Its sum over the pixels of a run of one label is the difference of
two sums from the begin of the line, each made of whole cells and a part of one; so a map costs a
step per cell and one per run, never one per pixel. Maps live for one line of cells.
"""

from typing import NamedTuple

import numpy as np

from spixgraph.arrays import Array
from spixgraph.graph.blocks.filters import write_hessian, write_hessian_3d
from spixgraph.superpixels.basins.jit import kernel

_HALF, _0F = np.float32(0.5), np.float32(0)
_0, _1 = np.uint64(0), np.uint64(1)


class Filtered(NamedTuple):
    """A tile at one octave; reaches beyond the block as told, along z in volumes only."""

    smooth: Array  # (C, Z, Y, X) float32, channels, smoothed; by 1 cell
    grey: Array  # (Z, Y, X) float32, sum of `smooth`; by 1 cell
    steep: Array  # (Z, Y, X) float32, squared gradient of `smooth`
    square: Array  # (Z, Y, X) float32, of the channels smoothed once, see `filters.write_square`
    tensor: Array  # (3, Z, Y, X) float32, of `filters.write_products`, smoothed; none in the last
    squares: Array  # (Z, Y, X) float32, smoothed squares of the pixels, summed over channels
    z_slope: np.float32  # see `filters.write_slopes`


@kernel
def add_cells(
    labels: Array, end: Array, maps: Filtered, cell_z: int, cell: int, total: Array
) -> None:
    """Add the maps of an octave, and their squares, over superpixels.

    Parameters
    ----------
    labels : (Z, Y, X) uint16
    end : (runs,) int32
        Of `regions.list_runs`.
    maps : Filtered
        Of cells of `cell_z` x `cell` x `cell` pixels, `cell` a power of 2; they may reach beyond
        the labels.
    total : (n, 2 M) float64
        Sums, then sums of squares; added to. The maps are the smoothed channels, then those of
        `block_graph.textures`, then zeros up to M, a multiple of 4.
    """
    n_y, n_x = labels.shape[1:]
    n_cells, n_maps = maps.square.shape[2], total.shape[1] // 2
    rows = np.zeros((n_maps, n_cells), np.float32)
    before = np.zeros((n_cells + 2, 2 * n_maps))
    last = np.empty(2 * n_maps)
    flat = labels.reshape(-1)
    shift, mask, part = 0, np.uint64(cell - 1), 1 / cell
    while 1 << shift < cell:
        shift += 1
    begin, run = _0, _0
    for line in range(labels.shape[0] * n_y):
        z, y = line // n_y, line % n_y
        if y % cell == 0:
            _write_rows(maps, z // cell_z, y // cell, rows)
            _sum_up(rows, cell, before)
        start = np.uint64(line * n_x)
        stop = start + np.uint64(n_x)
        last[:] = 0
        while begin < stop:
            label = flat[begin]
            begin = np.uint64(end[run])
            run += _1
            place = begin - start >> np.uint64(shift)
            some = np.float64(begin - start & mask) * part
            for m in range(2 * n_maps):
                whole = before[place, m]
                now = whole + some * (before[place + _1, m] - whole)
                total[label, m] += now - last[m]
                last[m] = now


@kernel
def _sum_up(rows: Array, cell: int, before: Array) -> None:
    """Write, for each cell of a line, the sums over the pixels before it; squares behind values.

    Four maps at a time: a sum waits for the one before it, but not for those of other maps.
    """
    n_maps, n_px = rows.shape[0], np.float64(cell)
    for m in range(0, n_maps, 4):
        s = n_maps + m
        a, b, c, d, aa, bb, cc, dd = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for x in range(rows.shape[1]):
            to = before[x + 1]
            v, w = np.float64(rows[m, x]), np.float64(rows[m + 1, x])
            y, z = np.float64(rows[m + 2, x]), np.float64(rows[m + 3, x])
            a, b, c, d = a + n_px * v, b + n_px * w, c + n_px * y, d + n_px * z
            aa, bb = aa + n_px * (v * v), bb + n_px * (w * w)
            cc, dd = cc + n_px * (y * y), dd + n_px * (z * z)
            to[m], to[m + 1], to[m + 2], to[m + 3] = a, b, c, d
            to[s], to[s + 1], to[s + 2], to[s + 3] = aa, bb, cc, dd
    before[rows.shape[1] + 1] = before[rows.shape[1]]


@kernel
def _write_rows(maps: Filtered, z: int, y: int, rows: Array) -> None:
    """Write one line of all maps, (M, X) float32."""
    n_channels = maps.smooth.shape[0]
    deep = (maps.grey.shape[0] - maps.square.shape[0]) // 2
    share = np.float32(1 / n_channels)
    for c in range(n_channels):
        line, to = maps.smooth[c, z + deep, y + 1], rows[c]
        for x in range(to.size):
            to[x] = line[x + 1]
    slope, level, rough = maps.steep[z, y], maps.square[z, y], maps.squares[z, y]
    gradient, deviation = rows[n_channels], rows[n_channels + 1]
    for x in range(gradient.size):
        gradient[x] = np.sqrt(slope[x] * share)
        deviation[x] = np.sqrt(max((rough[x] - level[x]) * share, _0F))
    if maps.tensor.shape[1] == 0:
        _write_laplacian(maps, z, y, deep, share, rows[n_channels + 2])
    else:
        _write_textures(maps, z, y, deep, share, rows[n_channels + 2 :])


@kernel
def _write_textures(maps: Filtered, z: int, y: int, deep: int, share: float, rows: Array) -> None:
    """Write the eigenvalues of the Hessian, of the in-plane one in slices, and the tensor's."""
    if deep:
        write_hessian_3d(maps.grey, z, y, maps.z_slope, share, rows[0], rows[1], rows[2])
    else:
        write_hessian(maps.grey[z], y, share, rows[0], rows[1])
    weak, strong = rows[2 + deep], rows[3 + deep]
    t_yy, t_yx, t_xx = maps.tensor[0, z, y], maps.tensor[1, z, y], maps.tensor[2, z, y]
    for x in range(weak.size):
        middle, lean = (t_yy[x] + t_xx[x]) * _HALF, (t_yy[x] - t_xx[x]) * _HALF
        half = np.sqrt(lean * lean + t_yx[x] * t_yx[x])
        weak[x] = np.sqrt(max((middle - half) * share, _0F))
        strong[x] = np.sqrt(max((middle + half) * share, _0F))


@kernel
def _write_laplacian(maps: Filtered, z: int, y: int, deep: int, share: float, to: Array) -> None:
    """Write the sum of second differences."""
    plane = maps.grey[z + deep]
    up, line, down = plane[y], plane[y + 1], plane[y + 2]
    front, back = maps.grey[z, y + 1], maps.grey[z + 2 * deep, y + 1]
    along_z = maps.z_slope * maps.z_slope
    for x in range(to.size):
        twice = line[x + 1] + line[x + 1]
        flat = (up[x + 1] - twice + down[x + 1]) + (line[x] - twice + line[x + 2])
        to[x] = (flat + (front[x + 1] - twice + back[x + 1]) * along_z) * share
