"""Basins of the gradient: every pixel points to its lowest neighbour; each tree is a basin."""

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel


@kernel
def lowest_neighbours(padded: Array, best: Array, code: Array) -> None:
    """Number the lowest of each pixel's neighbours and itself, in scan order; first on ties.

    `padded` (Z + 2 or Z, Y + 2, X + 2) uint16 has a rim of 65535; `code` (Z, Y, X) uint8.
    """
    depth = padded.shape[0] - code.shape[0]
    for z in range(code.shape[0]):
        for y in range(code.shape[1]):
            to = code[z, y]
            best[:] = 65535
            number = 0
            for dz in range(depth + 1):
                for dy in range(3):
                    row = padded[z + dz, y + dy]
                    for dx in range(3):
                        for x in range(to.size):
                            value = row[x + dx]
                            lower = value < best[x]
                            best[x] = value if lower else best[x]
                            to[x] = np.uint8(number) if lower else to[x]
                        number += 1


@kernel
def label_trees(code: Array, steps: Array, labels: Array, path: Array) -> int:
    """Label the trees of flat `code` 0..n-1 in the order of their first pixel; return n."""
    labels[:] = -1
    n_trees = 0
    for start in range(code.size):
        if labels[start] >= 0:
            continue
        pixel, length = start, 0
        while labels[pixel] < 0 and steps[code[pixel]] != 0:
            path[length] = pixel
            length += 1
            pixel += steps[code[pixel]]
        if labels[pixel] < 0:
            labels[pixel] = n_trees
            n_trees += 1
        for i in range(length):
            labels[path[i]] = labels[pixel]
    return n_trees
