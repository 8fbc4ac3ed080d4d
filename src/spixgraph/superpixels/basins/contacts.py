"""Sums of the basins of one block, and the pixel sides where they touch."""

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel
from spixgraph.superpixels.basins.tables import Contacts, Regions

_ONE_SIDE = np.uint64(1 << 40)
_BITS = np.uint64(16)


@kernel
def find_sides(labels: Array, padded: Array, place: Array, sides: Contacts) -> int:
    """List the faces between pixels of different labels, one row each; return their number.

    The gradient of a face is the larger one of its two pixels.
    """
    n = 0
    deep = (padded.shape[0] - labels.shape[0]) // 2
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            line, steep = labels[z, y], padded[z + deep, y + 1, 1:]
            n = _between(line[:-1], line[1:], steep, steep[1:], place, sides, n)
            if y + 1 < labels.shape[1]:
                below = padded[z + deep, y + 2, 1:]
                n = _between(line, labels[z, y + 1], steep, below, place, sides, n)
            if z + 1 < labels.shape[0]:
                behind = padded[z + deep + 1, y + 1, 1:]
                n = _between(line, labels[z + 1, y], steep, behind, place, sides, n)
    return n


@kernel
def _between(
    a: Array, b: Array, steep_a: Array, steep_b: Array, place: Array, sides: Contacts, n: int
) -> int:
    """Append the faces between two lines; without branches, which the processor cannot foresee."""
    found = 0
    for x in range(a.size):
        place[found] = x
        found += a[x] != b[x]
    for i in range(found):
        x = place[i]
        low, high = np.uint64(min(a[x], b[x])), np.uint64(max(a[x], b[x]))
        sides.key[n + i] = low << _BITS | high
        sides.border[n + i] = _ONE_SIDE | np.uint64(max(steep_a[x], steep_b[x]))
    return n + found


@kernel
def sum_basins(labels: Array, planes: Array, end: Array, prefix: Array, regions: Regions) -> None:
    """Add the pixels of a block to `count`, and the values of its planes to `total`.

    Runs of one label along x are added at once, by the sums of the line up to each pixel.
    """
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            line = labels[z, y]
            n_runs = 0
            for x in range(line.size - 1):
                end[n_runs] = x + 1
                n_runs += line[x] != line[x + 1]
            end[n_runs] = line.size
            begin = 0
            for i in range(n_runs + 1):
                regions.n_pixels[line[begin]] += end[i] - begin
                begin = end[i]
            for p in range(planes.shape[0]):
                _sum_up(planes[p, z, y], prefix)
                begin = 0
                for i in range(n_runs + 1):
                    regions.total[line[begin], p] += prefix[end[i]] - prefix[begin]
                    begin = end[i]


@kernel
def _sum_up(values: Array, prefix: Array) -> None:
    """Write the sum of the values before each place."""
    so_far = 0
    for x in range(values.size):
        prefix[x] = so_far
        so_far += values[x]
    prefix[values.size] = so_far
