"""Basins of the gradient: every pixel points to its lowest neighbour; each tree is a basin."""

import numpy as np

from spixgraph.arrays import Array, Int32
from spixgraph.superpixels.basins.jit import kernel


def neighbour_steps(shape_zyx: tuple[int, int, int], *, is_volume: bool) -> Int32:
    """Return the steps in a flat block to the 27 (or 9) pixels around one, in scan order."""
    _, n_y, n_x = shape_zyx
    near = np.arange(-1, 2, dtype=np.int32)
    plane = (near[:, None] * n_x + near).ravel()
    return (near[:, None] * n_y * n_x + plane).ravel() if is_volume else plane


@kernel
def find_lowest(padded: Array, lowest: Array, number: Array) -> None:
    """Write the number of the lowest neighbour of each pixel, or itself; the first one on ties.

    Numbers are those of `neighbour_steps`. `padded` is uint16 with a rim of 65535, along z in a
    volume only; `number` is (Z, Y, X) uint8; `lowest` (X,) uint16 is workspace.
    """
    deep = padded.shape[0] - number.shape[0]
    for z in range(number.shape[0]):
        for y in range(number.shape[1]):
            to = number[z, y]
            lowest[:] = 65535
            k = 0
            for dz in range(deep + 1):
                for dy in range(3):
                    line = padded[z + dz, y + dy]
                    for dx in range(3):
                        for x in range(to.size):
                            lower = line[x + dx] < lowest[x]
                            lowest[x] = line[x + dx] if lower else lowest[x]
                            to[x] = np.uint8(k) if lower else to[x]
                        k += 1


@kernel
def label_basins(number: Array, steps: Array, root: Array, waiting: Array, labels: Array) -> int:
    """Label the trees 0..n-1 in the order of their lowest pixels; return n.

    `number` is flat, `labels` flat uint16; `root` and `waiting`, flat int32, are workspace. While
    the pixels are gone through, forth and back, ``root`` holds the next pixel downwards, or
    ``-1 - label`` once that is known. Few are left to wait until the end.
    """
    own = np.uint8(steps.size // 2)
    n_basins = 0
    for at in range(number.size):
        i, k = np.uint32(at), number[at]
        to = np.int32(at) + steps[k]
        known = root[np.uint32(to) if k < own else i]
        next_ = known if k < own else to
        root[i] = np.int32(-1 - n_basins) if k == own else next_
        n_basins += k == own
    n_waiting = 0
    for at in range(number.size - 1, -1, -1):
        i = np.uint32(at)
        next_ = root[i]
        further = root[np.uint32(max(next_, 0))]
        next_ = next_ if next_ < 0 else further
        root[i] = next_
        labels[i] = -1 - next_
        waiting[np.uint32(n_waiting)] = i
        n_waiting += next_ >= 0
    for j in range(n_waiting):
        i = np.uint32(waiting[j])
        next_ = root[i]
        while next_ >= 0:
            next_ = root[np.uint32(next_)]
        root[i] = next_
        labels[i] = -1 - next_
    return n_basins
