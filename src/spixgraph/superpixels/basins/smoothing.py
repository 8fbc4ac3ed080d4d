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
_RIM = 65535


@kernel
def weigh(tile: Array, weight: float, out: Array) -> None:
    """Write (Z, Y, X) uint16 levels times `weight` (float32), rounded to even."""
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            line, to = tile[z, y], out[z, y]
            for x in range(to.size):
                to[x] = np.uint16(np.rint(np.float32(line[x]) * weight))


@kernel
def smooth_z(source: Array, skip: int, out: Array) -> None:
    """Smooth z of (Z, Y, X) uint16; output z lies over source z + skip, skip >= 2."""
    for z in range(out.shape[0]):
        at = z + skip
        for y in range(out.shape[1]):
            a, b, c = source[at - 2, y], source[at - 1, y], source[at, y]
            d, e, to = source[at + 1, y], source[at + 2, y], out[z, y]
            for x in range(to.size):
                near = np.uint32(b[x]) + np.uint32(d[x])
                far = np.uint32(a[x]) + np.uint32(e[x])
                to[x] = (6 * np.uint32(c[x]) + 4 * near + far + 8) // 16


@kernel
def smooth_yx(source: Array, skip_z: int, skip: int, line: Array, out: Array) -> None:
    """Smooth y, then x, of (Z, Y, X) uint16.

    Output (z, y, x) lies over source (z + skip_z, y + skip, x + skip), skip >= 2. `line` uint16 is
    workspace, longer by four than a line of `out`.
    """
    n_x = out.shape[2]
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            at, begin = y + skip, skip - 2
            plane = source[z + skip_z]
            a, b, c = plane[at - 2, begin:], plane[at - 1, begin:], plane[at, begin:]
            d, e, to = plane[at + 1, begin:], plane[at + 2, begin:], out[z, y]
            for x in range(n_x + 4):
                near = np.uint32(b[x]) + np.uint32(d[x])
                far = np.uint32(a[x]) + np.uint32(e[x])
                line[x] = (6 * np.uint32(c[x]) + 4 * near + far + 8) // 16
            for x in range(n_x):
                near = np.uint32(line[x + 1]) + np.uint32(line[x + 3])
                far = np.uint32(line[x]) + np.uint32(line[x + 4])
                to[x] = (6 * np.uint32(line[x + 2]) + 4 * near + far + 8) // 16


@kernel
def add_squared_gradient(smooth: Array, is_first: bool, out: Array) -> None:
    """Add the squared central differences of a channel to `out` (Z, Y, X) uint32, saturating.

    `smooth` is uint16 with one more pixel on each side of y and x, and of z in a volume.
    """
    deep = (smooth.shape[0] - out.shape[0]) // 2
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            up, line, down = (smooth[z + deep, y], smooth[z + deep, y + 1], smooth[z + deep, y + 2])
            front, back = smooth[z, y + 1], smooth[z + 2 * deep, y + 1]
            to = out[z, y]
            if is_first:
                to[:] = 0
            for x in range(to.size):
                dz = np.int32(back[x + 1]) - np.int32(front[x + 1])
                dy = np.int32(down[x + 1]) - np.int32(up[x + 1])
                dx = np.int32(line[x + 2]) - np.int32(line[x])
                square = np.int64(to[x]) + dz * dz + dy * dy + dx * dx
                to[x] = min(square, _MAX_SQUARE)


@kernel
def write_gradient(square: Array, padded: Array) -> None:
    """Write the roots of (Z, Y, X) uint32 inside of `padded` uint16, and a rim of 65535."""
    deep = (padded.shape[0] - square.shape[0]) // 2
    n_x = square.shape[2]
    for z in range(padded.shape[0]):
        padded[z, 0] = _RIM
        padded[z, padded.shape[1] - 1] = _RIM
    for z in range(deep):
        padded[z] = _RIM
        padded[padded.shape[0] - 1 - z] = _RIM
    for z in range(square.shape[0]):
        for y in range(square.shape[1]):
            line, to = square[z, y], padded[z + deep, y + 1]
            to[0] = to[n_x + 1] = _RIM
            for x in range(n_x):
                root = np.uint32(np.sqrt(np.float32(line[x])))
                to[x + 1] = min(root, np.uint32(MAX_GRADIENT))


@kernel
def find_median(padded: Array, count: Array) -> int:
    """Find the lower median of every third gradient of every third line.

    `count` (65536,) int32 is workspace.
    """
    count[:] = 0
    deep = 1 if padded.shape[0] > 1 else 0
    n = 0
    for z in range(deep, padded.shape[0] - deep):
        for y in range(1, padded.shape[1] - 1, 3):
            line = padded[z, y]
            for x in range(1, line.size - 1, 3):
                count[line[x]] += 1
                n += 1
    median, below = 0, count[0]
    while 2 * below < n:
        median += 1
        below += count[median]
    return median


@kernel
def round_gradient(padded: Array, share: float, out: Array) -> None:
    """Write the gradients times `share` (float32, at most 1), cut to integers; the rim stays."""
    values, to = padded.reshape(-1), out.reshape(-1)
    for i in range(values.size):
        level = np.uint16(np.float32(values[i]) * share)
        to[i] = values[i] if values[i] == _RIM else level
