"""Halving and smoothing of one octave, in float32.

All arrays are whole and (C, Z, Y, X) or (Z, Y, X); `skip` says how far inside the source the output
begins, so that the inner loops run over plain lines. Every output is a fixed sum of its inputs in a
fixed order: it does not depend on where in memory, or in which block, it is computed.
"""

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel

_4, _6 = np.float32(4), np.float32(6)
_MIDDLE = np.float32(16384)
_QUARTER, _ZERO = np.float32(0.25), np.float32(0)


@kernel
def halve(source: Array, out: Array) -> None:
    """Average 2 x 2 pixels of (C, Z, Y, X), and 2 along z where `out` is as much shorter."""
    n_deep = 2 if out.shape[1] * 2 == source.shape[1] else 1
    share = np.float32(1 / (4 * n_deep))
    line = np.empty(source.shape[3], np.float32)
    for c in range(out.shape[0]):
        for z in range(out.shape[1]):
            for y in range(out.shape[2]):
                plane = source[c, n_deep * z]
                upper, lower = plane[2 * y], plane[2 * y + 1]
                for x in range(line.size):
                    line[x] = np.float32(upper[x]) + np.float32(lower[x])
                if n_deep == 2:
                    plane = source[c, 2 * z + 1]
                    upper, lower = plane[2 * y], plane[2 * y + 1]
                    for x in range(line.size):
                        line[x] += np.float32(upper[x]) + np.float32(lower[x])
                to = out[c, z, y]
                for x in range(to.size):
                    to[x] = (line[2 * x] + line[2 * x + 1]) * share


@kernel
def square_and_halve(tile: Array, out: Array) -> None:
    """Average, as `halve`, the squared distances of (C, Z, Y, X) uint16 from the middle level.

    Those of all channels are summed.
    """
    n_deep = 2 if out.shape[0] * 2 == tile.shape[1] else 1
    share = np.float32(1 / (4 * n_deep))
    line = np.empty(tile.shape[3], np.float32)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            line[:] = 0
            for c in range(tile.shape[0]):
                for dz in range(n_deep):
                    for dy in range(2):
                        values = tile[c, n_deep * z + dz, 2 * y + dy]
                        for x in range(line.size):
                            value = np.float32(values[x]) - _MIDDLE
                            line[x] += value * value
            to = out[z, y]
            for x in range(to.size):
                to[x] = (line[2 * x] + line[2 * x + 1]) * share


@kernel
def smooth(source: Array, skip_z: int, skip: int, out: Array) -> None:
    """Smooth y and x of (C, Z, Y, X) by (1, 4, 6, 4, 1) / 16.

    Output (z, y, x) lies over source (z + skip_z, y + skip, x + skip); skip is 2 or more.
    """
    n_x = out.shape[3]
    line = np.empty(n_x + 4, np.float32)
    share = np.float32(1 / 256)
    begin = skip - 2
    for c in range(out.shape[0]):
        for z in range(out.shape[1]):
            plane = source[c, z + skip_z]
            for y in range(out.shape[2]):
                at = y + skip
                far, near, here = plane[at - 2, begin:], plane[at - 1, begin:], plane[at, begin:]
                next_, last = plane[at + 1, begin:], plane[at + 2, begin:]
                for x in range(n_x + 4):
                    middle = np.float32(near[x]) + np.float32(next_[x])
                    outer = np.float32(far[x]) + np.float32(last[x])
                    line[x] = _6 * np.float32(here[x]) + _4 * middle + outer
                to = out[c, z, y]
                for x in range(n_x):
                    middle = _6 * line[x + 2] + _4 * (line[x + 1] + line[x + 3])
                    to[x] = (middle + (line[x] + line[x + 4])) * share


@kernel
def smooth_z(source: Array, skip: int, out: Array) -> None:
    """Smooth z of (C, Z, Y, X) alike; output z lies over source z + skip, skip >= 2."""
    share = np.float32(1 / 16)
    for c in range(out.shape[0]):
        for z in range(out.shape[1]):
            at = z + skip
            for y in range(out.shape[2]):
                far, near, here = source[c, at - 2, y], source[c, at - 1, y], source[c, at, y]
                next_, last, to = source[c, at + 1, y], source[c, at + 2, y], out[c, z, y]
                for x in range(to.size):
                    middle = np.float32(near[x]) + np.float32(next_[x])
                    outer = np.float32(far[x]) + np.float32(last[x])
                    to[x] = (_6 * np.float32(here[x]) + _4 * middle + outer) * share


@kernel
def sum_channels(values: Array, out: Array) -> None:
    """Sum (C, Z, Y, X) over C."""
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            to = out[z, y]
            to[:] = 0
            for c in range(values.shape[0]):
                line = values[c, z, y]
                for x in range(to.size):
                    to[x] += line[x]


@kernel
def stretch(source: Array, margin: int, out: Array) -> None:
    """Interpolate cells to cells of half the size; along z only where `out` is that much longer.

    `source` has one cell more on each side of the block, `out` has `margin` (0 or 1). Each fine
    cell takes three quarters of its own coarse cell and a quarter of the nearest other, per axis.
    A `source` of one slice has no margin along z. `out` may end before the block does.
    """
    deep = source.shape[0] > 1
    margin_z = margin if deep else 0
    n_coarse = source.shape[0] - 2 if deep else 1
    is_halved = out.shape[0] - 2 * margin_z > n_coarse
    n_x = out.shape[2]
    line = np.empty(source.shape[2], np.float32)
    for z in range(out.shape[0]):
        z_a, z_b, z_w = _taps(z - margin_z, is_halved)
        if not deep:
            z_a = z_b = 0
        for y in range(out.shape[1]):
            y_a, y_b, y_w = _taps(y - margin, True)
            a, b, c, d = source[z_a, y_a], source[z_a, y_b], source[z_b, y_a], source[z_b, y_b]
            for x in range(source.shape[2]):
                front = a[x] + y_w * (b[x] - a[x])
                back = c[x] + y_w * (d[x] - c[x])
                line[x] = front + z_w * (back - front)
            to = out[z, y]
            if margin:
                to[0] = line[0] + _QUARTER * (line[1] - line[0])
            n_pairs = (n_x - margin) // 2
            for x in range(n_pairs):
                here = line[x + 1]
                to[2 * x + margin] = here + _QUARTER * (line[x] - here)
                to[2 * x + 1 + margin] = here + _QUARTER * (line[x + 2] - here)
            if 2 * n_pairs + margin < n_x:
                here = line[n_pairs + 1]
                to[n_x - 1] = here + _QUARTER * (line[n_pairs] - here)


@kernel
def _taps(fine: int, is_halved: bool) -> tuple[int, int, np.float32]:
    """Own coarse cell, in a source with a margin of one, the nearest other, and its weight."""
    if not is_halved:
        return fine + 1, fine + 1, _ZERO
    own = fine // 2
    return own + 1, own + (2 if fine % 2 else 0), _QUARTER
