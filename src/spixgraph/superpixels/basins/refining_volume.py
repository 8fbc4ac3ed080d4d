"""The same as `refining`, for voxels: six face neighbours, lines forwards, then backwards."""

import itertools

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel
from spixgraph.superpixels.basins.tables import Regions

SPREAD, SMOOTHNESS = 10, 0.25
_SPREAD, _SMOOTHNESS = np.float32(SPREAD), np.float32(SMOOTHNESS)
_RIM, _CENTRE, _1 = 65535, 1 << 13, np.uint64(1)


def _plane(axis: int, place: int) -> int:
    """Set the bits of one outer plane of a cube of 3 x 3 x 3, in scan order."""
    cube = enumerate(itertools.product(range(3), repeat=3))
    return sum(1 << i for i, zyx in cube if zyx[axis] == place)


_CUBE = (1 << 27) - 1
_NOT_FIRST_Y, _NOT_LAST_Y = (_CUBE & ~_plane(1, place) for place in (0, 2))
_NOT_FIRST_X, _NOT_LAST_X = (_CUBE & ~_plane(2, place) for place in (0, 2))


@kernel
def refine_volume(
    labels: Array, once: Array, skip: int, regions: Regions, place: Array, wide: Array
) -> None:
    """Move the border voxels of a block (Z, Y, X) uint16, in place.

    Labels are rows of `regions`, at most 32768; `once` (C, Z', Y', X') are the channels that
    `regions.mean` is of, which begin `skip` voxels before the labels. `place` (X,) int32 and `wide`
    (Z + 2, Y + 2, X + 2) uint16 are workspace.
    """
    n_z, n_y = labels.shape[:2]
    wide[...] = _RIM
    wide[1:-1, 1:-1, 1:-1] = labels
    n_lines = n_z * n_y
    for i in range(2 * n_lines):
        at = i if i < n_lines else 2 * n_lines - 1 - i
        z, y = at // n_y, at % n_y
        found = _list_borders(wide, z + 1, y + 1, place)
        _refine_line(wide, once[:, z + skip, y + skip, skip:], regions, place[:found], z + 1, y + 1)
    labels[...] = wide[1:-1, 1:-1, 1:-1]


@kernel
def _list_borders(wide: Array, z: int, y: int, place: Array) -> int:
    """List the voxels of a line beside another label; return their number."""
    line, up, down = wide[z, y], wide[z, y - 1], wide[z, y + 1]
    front, back = wide[z - 1, y], wide[z + 1, y]
    found = 0
    for x in range(1, line.size - 1):
        own = line[x]
        place[found] = x
        flat = _is_alike(line[x - 1], own) & _is_alike(line[x + 1], own)
        flat &= _is_alike(up[x], own) & _is_alike(down[x], own)
        found += not (flat & _is_alike(front[x], own) & _is_alike(back[x], own))
    return found


@kernel
def _is_alike(label: int, own: int) -> bool:
    """Tell if a label is the own one, or the rim."""
    return (label == own) | (label == _RIM)


@kernel
def _refine_line(
    wide: Array, values: Array, regions: Regions, place: Array, z: int, y: int
) -> None:
    """Look at some voxels of a line."""
    n_pixels, mean, n_x = regions.n_pixels, regions.mean, np.uint64(wide.shape[2])
    flat, n_yx = wide.reshape(-1), np.uint64(wide.shape[1]) * n_x
    line = np.uint64(z) * n_yx + np.uint64(y) * n_x
    for i in range(place.size):
        x = np.uint64(place[i])
        at = line + x
        own = flat[at]
        near = (
            _inside(flat[at - n_yx], own),
            _inside(flat[at - n_x], own),
            _inside(flat[at - _1], own),
            _inside(flat[at + _1], own),
            _inside(flat[at + n_x], own),
            _inside(flat[at + n_yx], own),
        )
        to = _best(near, own, values, x - _1, mean)
        if to != own and n_pixels[own] > 1 and _is_whole(_bits(flat, at, n_x, n_yx, own)):
            flat[at] = to
            n_pixels[own] -= 1
            n_pixels[to] += 1


@kernel
def _inside(label: int, own: int) -> int:
    """Put the own label in the place of the rim."""
    return own if label == _RIM else label


@kernel
def _best(near: tuple[int, ...], own: int, values: Array, x: int, mean: Array) -> int:
    """Find the cheapest label around a voxel; on ties its own, then the first.

    A label that is around it more than once is weighed as often: to find that out costs more.
    """
    smooth = _SMOOTHNESS * mean[own, values.shape[0]] * mean[own, values.shape[0]]
    best, least = own, _cost(near, own, values, x, mean, smooth)
    for other in near:
        cost = _cost(near, other, values, x, mean, smooth)
        better = cost < least
        best, least = other if better else best, cost if better else least
    return best


@kernel
def _cost(
    near: tuple[int, ...], label: int, values: Array, x: int, mean: Array, smooth: np.float32
) -> np.float32:
    """Cost of a region for a voxel."""
    step = np.float32(values[0, x]) - mean[label, 0]
    far = step * step
    for c in range(1, values.shape[0]):
        step = np.float32(values[c, x]) - mean[label, c]
        far += step * step
    same = np.float32(_count(near, label))
    return (_SPREAD - same) * far - same * smooth


@kernel
def _count(near: tuple[int, ...], label: int) -> int:
    """Count a label."""
    n = 0
    for other in near:
        n += other == label
    return n


@kernel
def _bits(flat: Array, at: int, n_x: int, n_yx: int, own: int) -> int:
    """Tell which voxels around one have a label: 27 bits in scan order, not that of itself."""
    bits, k = 0, 0
    for plane in (at - n_yx, at, at + n_yx):
        for middle in (plane - n_x, plane, plane + n_x):
            for place in (middle - _1, middle, middle + _1):
                bits |= int(flat[place] == own) << k
                k += 1
    return bits & ~_CENTRE


@kernel
def _is_whole(bits: int) -> bool:
    """Tell if voxels around one, as bits, touch each other, by corners at least; one is needed."""
    reached, before = bits & -bits, 0
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
