"""Integer smoothing and gradient: the only kernels that look past their block.

Intensities are 15-bit integers. A pass of the binomial filter (1, 4, 6, 4, 1)/16 rounds its
result to integers again, so every machine computes the same bits.
"""

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel

MAX_GRADIENT = 65534
"""Gradients saturate here; 65535 is the rim around a block."""
_MAX_SQUARE = 2**32 - 1


@kernel
def smooth_lines(source: Array, out: Array) -> None:
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
def smooth_along(source: Array, out: Array) -> None:
    """Smooth the last axis of (lines, n) uint16 into (lines, n - 4)."""
    for i in range(out.shape[0]):
        line, to = source[i], out[i]
        for x in range(to.size):
            near = np.uint32(line[x + 1]) + np.uint32(line[x + 3])
            far = np.uint32(line[x]) + np.uint32(line[x + 4])
            to[x] = (6 * np.uint32(line[x + 2]) + 4 * near + far + 8) // 16


@kernel
def add_squared_gradient(smooth: Array, out: Array) -> None:
    """Add the squared central differences of a channel to `out` (Z, Y, X) uint32, saturating.

    `smooth` is uint16 with one more pixel on each side of y and x, and of z in a volume.
    """
    deep = (smooth.shape[0] - out.shape[0]) // 2
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            up, line, down = (smooth[z + deep, y], smooth[z + deep, y + 1], smooth[z + deep, y + 2])
            front, back = smooth[z, y + 1], smooth[z + 2 * deep, y + 1]
            to = out[z, y]
            for x in range(to.size):
                dz = np.int32(back[x + 1]) - np.int32(front[x + 1])
                dy = np.int32(down[x + 1]) - np.int32(up[x + 1])
                dx = np.int32(line[x + 2]) - np.int32(line[x])
                square = np.int64(to[x]) + dz * dz + dy * dy + dx * dx
                to[x] = min(square, _MAX_SQUARE)


@kernel
def write_gradient(square: Array, padded: Array) -> None:
    """Write the roots of (Z, Y, X) uint32 into the inside of `padded` uint16."""
    deep = (padded.shape[0] - square.shape[0]) // 2
    for z in range(square.shape[0]):
        for y in range(square.shape[1]):
            line, to = square[z, y], padded[z + deep, y + 1]
            for x in range(line.size):
                root = np.uint32(np.sqrt(np.float32(line[x])))
                to[x + 1] = min(root, np.uint32(MAX_GRADIENT))
