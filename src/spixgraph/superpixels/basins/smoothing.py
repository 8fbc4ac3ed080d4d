"""Integer smoothing, gradient and texture: the only kernels that look past their block.

Intensities are 15-bit integers. A pass of the binomial filter (1, 4, 6, 4, 1)/16 rounds its
result to integers again, so every machine computes the same bits.
"""

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel

MAX_GRADIENT = 65534  # 65535 is the rim around a block
_MAX_SQUARE = 2**32 - 1


@kernel
def smooth_rows(source: Array, out: Array) -> None:
    """Smooth the middle axis of (outer, n, inner) uint16 into (outer, n - 4, inner)."""
    for o in range(out.shape[0]):
        for i in range(out.shape[1]):
            a, b, c = source[o, i], source[o, i + 1], source[o, i + 2]
            d, e, to = source[o, i + 3], source[o, i + 4], out[o, i]
            for x in range(to.size):
                near = np.uint32(b[x]) + np.uint32(d[x])
                far = np.uint32(a[x]) + np.uint32(e[x])
                to[x] = (6 * np.uint32(c[x]) + 4 * near + far + 8) // 16


@kernel
def smooth_columns(source: Array, out: Array) -> None:
    """Smooth the last axis of (rows, n) uint16 into (rows, n - 4)."""
    for i in range(out.shape[0]):
        row, to = source[i], out[i]
        for x in range(to.size):
            near = np.uint32(row[x + 1]) + np.uint32(row[x + 3])
            far = np.uint32(row[x]) + np.uint32(row[x + 4])
            to[x] = (6 * np.uint32(row[x + 2]) + 4 * near + far + 8) // 16


@kernel
def add_square(before: Array, after: Array, out: Array) -> None:
    """Add the squared difference of two (Z, Y, X) uint16 arrays to `out` uint32, saturating."""
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            a, b, to = before[z, y], after[z, y], out[z, y]
            for x in range(to.size):
                step = np.int64(a[x]) - np.int64(b[x])
                to[x] = min(np.int64(to[x]) + step * step, _MAX_SQUARE)


@kernel
def add_gradient_yx(smooth: Array, out: Array) -> None:
    """Add the squared in-plane gradient of (Z, Y + 2, X + 2) uint16 to (Z, Y, X) uint32."""
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            up, row, down, to = smooth[z, y], smooth[z, y + 1], smooth[z, y + 2], out[z, y]
            for x in range(to.size):
                dy = np.int32(down[x + 1]) - np.int32(up[x + 1])
                dx = np.int32(row[x + 2]) - np.int32(row[x])
                to[x] = min(np.uint64(to[x]) + np.uint64(dy * dy + dx * dx), np.uint64(_MAX_SQUARE))


@kernel
def root(square: Array, out: Array) -> None:
    for z in range(square.shape[0]):
        for y in range(square.shape[1]):
            row, to = square[z, y], out[z + 1, y + 1]
            for x in range(row.size):
                to[x + 1] = min(np.uint32(np.sqrt(np.float32(row[x]))), np.uint32(MAX_GRADIENT))


@kernel
def add_texture(raw: Array, smooth: Array, out: Array) -> None:
    """Add |raw - smooth| of (Z, Y, X) uint16 arrays to `out` uint16, saturating."""
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            a, b, to = raw[z, y], smooth[z, y], out[z, y]
            for x in range(to.size):
                step = abs(np.int32(a[x]) - np.int32(b[x]))
                to[x] = min(np.uint32(to[x]) + np.uint32(step), np.uint32(65535))
