"""Basins of the gradient: every pixel points to its lowest neighbour; each tree is a basin."""

import numpy as np

from spixgraph.arrays import Array, Int64
from spixgraph.superpixels.basins.jit import kernel


def neighbour_steps(shape_zyx: tuple[int, int, int], *, is_volume: bool) -> Int64:
    """Return the steps in a flat block to the 27 (or 9) pixels around one, in scan order."""
    _, n_y, n_x = shape_zyx
    near = np.arange(-1, 2)
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
def find_roots(number: Array, steps: Array, root: Array) -> None:
    """Follow the pointers of flat `number` to the lowest pixel of each tree, by pointer jumping."""
    for i in range(number.size):
        root[i] = i + steps[number[i]]
    moved = 1
    while moved != 0:
        moved = 0
        for i in range(number.size):
            further = root[np.uint32(root[i])]
            moved |= further ^ root[i]
            root[i] = further


@kernel
def number_basins(root: Array, name: Array, labels: Array) -> int:
    """Label the trees 0..n-1 in the order of their first pixel; return n. All arrays are flat."""
    name[:] = -1
    n_basins = 0
    for i in range(root.size):
        label = name[np.uint32(root[i])]
        if label < 0:
            label = n_basins
            name[np.uint32(root[i])] = label
            n_basins += 1
        labels[i] = label
    return n_basins
