"""The same as `refining`, for voxels: six face neighbours, lines forwards, then backwards."""

import itertools

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel
from spixgraph.superpixels.basins.tables import Regions

SPREAD, SMOOTHNESS = 10, 0.25
_SPREAD, _SMOOTHNESS = np.float32(SPREAD), np.float32(SMOOTHNESS)
_CENTRE, _1 = 13, np.uint32(1)


def _plane(axis: int, place: int) -> int:
    """Set the bits of one outer plane of a cube of 3 x 3 x 3, in scan order."""
    cube = enumerate(itertools.product(range(3), repeat=3))
    return sum(1 << i for i, zyx in cube if zyx[axis] == place)


_CUBE = (1 << 27) - 1
_NOT_FIRST_Y, _NOT_LAST_Y = (_CUBE & ~_plane(1, place) for place in (0, 2))
_NOT_FIRST_X, _NOT_LAST_X = (_CUBE & ~_plane(2, place) for place in (0, 2))


@kernel
def refine_volume(labels: Array, once: Array, skip: int, regions: Regions, place: Array) -> None:
    """Move the border voxels of a block (Z, Y, X) uint16, in place.

    Labels are rows of `regions`; `once` (C, Z', Y', X') are the channels that `regions.mean` is of,
    which begin `skip` voxels before the labels. `place` (X,) int32 is workspace.
    """
    n_z, n_y = labels.shape[:2]
    n_lines = n_z * n_y
    for i in range(2 * n_lines):
        at = i if i < n_lines else 2 * n_lines - 1 - i
        _refine_line(labels, once, skip, regions, place, at // n_y, at % n_y)


@kernel
def _refine_line(
    labels: Array, once: Array, skip: int, regions: Regions, place: Array, z: int, y: int
) -> None:
    """Look at those voxels of a line that were at a border before it."""
    n_z, n_y, n_x = labels.shape
    n_pixels, mean, line = regions.n_pixels, regions.mean, labels[z, y]
    up, down = labels[z, max(y - 1, 0)], labels[z, min(y + 1, n_y - 1)]
    front, back = labels[max(z - 1, 0), y], labels[min(z + 1, n_z - 1), y]
    found = 0
    for x in range(n_x):
        own, left, right = line[x], line[max(x - 1, 0)], line[min(x + 1, n_x - 1)]
        place[found] = x
        flat = (up[x] == own) & (down[x] == own) & (left == own) & (right == own)
        found += not (flat & (front[x] == own) & (back[x] == own))
    begin, end = np.uint32(skip), np.uint32(n_x - 1)
    for i in range(found):
        at = np.uint32(place[i])
        own, left, right = line[at], line[max(at, _1) - _1], line[min(at + _1, end)]
        near = (front[at], up[at], left, right, down[at], back[at])
        to = _best(near, own, once, np.uint32(z) + begin, np.uint32(y) + begin, at + begin, mean)
        if to != own and n_pixels[own] > 1 and _is_whole(labels, z, y, np.int64(at)):
            line[at] = to
            n_pixels[own] -= 1
            n_pixels[to] += 1


@kernel
def _best(near: tuple[int, ...], own: int, once: Array, z: int, y: int, x: int, mean: Array) -> int:
    """Find the cheapest label around a voxel; on ties its own, then the first."""
    n_channels, value = once.shape[0], np.float32(once[0, z, y, x])
    smooth = _SMOOTHNESS * mean[own, n_channels] * mean[own, n_channels]
    best, least = own, np.float32(np.inf)
    for other in (own, *near):
        if other != best or least == np.inf:
            far = (value - mean[other, 0]) * (value - mean[other, 0])
            for c in range(1, n_channels):
                step = np.float32(once[c, z, y, x]) - mean[other, c]
                far += step * step
            same = np.float32(_count(near, other))
            cost = (_SPREAD - same) * far - same * smooth
            better = cost < least
            best, least = other if better else best, cost if better else least
    return best


@kernel
def _count(near: tuple[int, ...], label: int) -> int:
    """Count a label."""
    n = 0
    for other in near:
        n += other == label
    return n


@kernel
def _is_whole(labels: Array, z: int, y: int, x: int) -> bool:
    """Tell if the voxels of the same label around one touch each other, by corners at least."""
    own = labels[z, y, x]
    n_z, n_y, n_x = labels.shape
    bits, place = np.int64(0), 0
    for k in range(z - 1, z + 2):
        at_z = min(max(k, 0), n_z - 1)
        for i in range(y - 1, y + 2):
            at_y = min(max(i, 0), n_y - 1)
            inside = (k == at_z) & (i == at_y)
            for j in range(x - 1, x + 2):
                at_x = min(max(j, 0), n_x - 1)
                same = inside & (j == at_x) & (labels[at_z, at_y, at_x] == own)
                bits |= np.int64(same) << place
                place += 1
    bits &= ~(1 << _CENTRE)
    reached, before = bits & -bits, np.int64(0)
    while reached != before:
        before = reached
        reached = _grown(reached) & bits
    return bits != 0 and reached == bits


@kernel
def _grown(bits: int) -> int:
    """Add the neighbours of the voxels of a cube."""
    bits |= (bits << 1 & _NOT_FIRST_X) | (bits >> 1 & _NOT_LAST_X)
    bits |= (bits << 3 & _NOT_FIRST_Y) | (bits >> 3 & _NOT_LAST_Y)
    return bits | (bits << 9 & _CUBE) | bits >> 9
