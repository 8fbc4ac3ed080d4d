"""Border pixels go to the neighbour whose mean they fit best: what merging whole basins cannot do.

For each region b beside a pixel, its own a among them, the cost is
``(K - s) |v - mean_b|² - w g_a² s``: s of its face neighbours are of b, g_a is the mean gradient
inside a. So textured regions keep smooth borders, and thin bright or dark lines get their own.

Lines are gone through in order, and a change is seen by the pixels after it; a block is always
refined as a whole, so the result depends on nothing else. A pixel leaves its region only if the
pixels of that around it still touch each other, and is never its last one: regions stay connected,
and none is lost. `refining_volume` does the same for voxels.
"""

import itertools

import numpy as np
import numpy.typing as npt

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel
from spixgraph.superpixels.basins.tables import Regions

SPREAD, SMOOTHNESS = 8, 4.0
_SPREAD, _SMOOTHNESS = np.float32(SPREAD), np.float32(SMOOTHNESS)
_0, _1 = np.float32(0), np.uint32(1)


def whole_rings() -> npt.NDArray[np.bool_]:
    """Tell for 8 bits, the pixels around one in scan order, if those set touch each other."""
    ring = [p for p in itertools.product((-1, 0, 1), repeat=2) if p != (0, 0)]
    whole = np.zeros(256, np.bool_)
    for bits in range(1, 256):
        left = {p for i, p in enumerate(ring) if bits >> i & 1}
        reached = [left.pop()]
        for y, x in reached:
            near = {p for p in left if max(abs(p[0] - y), abs(p[1] - x)) == 1}
            reached += near
            left -= near
        whole[bits] = not left
    return whole


_WHOLE = whole_rings()


@kernel
def refine(
    labels: Array, once: Array, skip: int, regions: Regions, differs: Array, place: Array
) -> None:
    """Move the border pixels of a slice (Y, X) uint16, in place.

    Labels are rows of `regions`; `once` (C, Y', X') are the channels that `regions.mean` is of,
    which begin `skip` pixels before the labels. `differs` (X,) uint8 and `place` (X,) int32 are
    workspace.
    """
    n_y, end = labels.shape[0], np.uint32(labels.shape[1] - 1)
    n_pixels, mean = regions.n_pixels, regions.mean
    for y in range(n_y):
        up, line, down = labels[max(y - 1, 0)], labels[y], labels[min(y + 1, n_y - 1)]
        found = _list_borders(up, line, down, differs, place)
        for i in range(found):
            x = np.uint32(place[i])
            own, left, right = line[x], line[max(x, _1) - _1], line[min(x + _1, end)]
            at = np.uint32(y + skip), np.uint32(x + skip)
            to = _best(up[x], left, right, down[x], own, once, at, mean)
            if to != own and n_pixels[own] > 1 and _is_whole(labels, y, np.int64(x)):
                line[x] = to
                n_pixels[own] -= 1
                n_pixels[to] += 1


@kernel
def _list_borders(up: Array, line: Array, down: Array, differs: Array, place: Array) -> int:
    """List the pixels of a line beside another label; return their number."""
    n_x = line.size
    for x in range(n_x):
        differs[x] = (up[x] != line[x]) | (down[x] != line[x])
    for x in range(n_x - 1):
        apart = line[x] != line[x + 1]
        differs[x] |= apart
        differs[x + 1] |= apart
    found = 0
    for x in range(n_x):
        place[found] = x
        found += differs[x]
    return found


@kernel
def _best(
    a: int, b: int, c: int, d: int, own: int, once: Array, at: tuple[int, int], mean: Array
) -> int:
    """Find the cheapest of the labels a, b, c, d around a pixel; on ties its own, then the first.

    Without branches; a loop over the channels that is entered for one channel would cost most.
    """
    n_channels = once.shape[0]
    value = np.float32(once[0, at[0], at[1]])
    far, far_a = _square(value, mean[own, 0]), _square(value, mean[a, 0])
    far_b, far_c = _square(value, mean[b, 0]), _square(value, mean[c, 0])
    far_d = _square(value, mean[d, 0])
    for k in range(1, n_channels):
        value = np.float32(once[k, at[0], at[1]])
        far += _square(value, mean[own, k])
        far_a += _square(value, mean[a, k])
        far_b += _square(value, mean[b, k])
        far_c += _square(value, mean[c, k])
        far_d += _square(value, mean[d, k])
    smooth = _SMOOTHNESS * _square(mean[own, n_channels], _0)
    ab, ac, ad = np.int32(a == b), np.int32(a == c), np.int32(a == d)
    bc, bd, cd = np.int32(b == c), np.int32(b == d), np.int32(c == d)
    n_own = np.int32(a == own) + np.int32(b == own) + np.int32(c == own) + np.int32(d == own)
    best, least = own, _cost(far, n_own, smooth)
    best, least = _cheaper(best, least, a, _cost(far_a, 1 + ab + ac + ad, smooth))
    best, least = _cheaper(best, least, b, _cost(far_b, 1 + ab + bc + bd, smooth))
    best, least = _cheaper(best, least, c, _cost(far_c, 1 + ac + bc + cd, smooth))
    best, least = _cheaper(best, least, d, _cost(far_d, 1 + ad + bd + cd, smooth))
    return best


@kernel
def _square(a: np.float32, b: np.float32) -> np.float32:
    """Squared distance."""
    return (a - b) * (a - b)


@kernel
def _cost(far: np.float32, n_same: int, smooth: np.float32) -> np.float32:
    """Cost of a region for a pixel that has `n_same` neighbours of it."""
    same = np.float32(n_same)
    return (_SPREAD - same) * far - same * smooth


@kernel
def _cheaper(best: int, least: np.float32, other: int, cost: np.float32) -> tuple[int, np.float32]:
    """Return the cheaper one of two regions."""
    better = cost < least
    return other if better else best, cost if better else least


@kernel
def _is_whole(labels: Array, y: int, x: int) -> bool:
    """Tell if the pixels of the same label around one touch each other."""
    own = labels[y, x]
    n_y, n_x = labels.shape
    bits, place = np.int64(0), 0
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            if dy != 0 or dx != 0:
                i, j = y + dy, x + dx
                inside = (i >= 0) & (i < n_y) & (j >= 0) & (j < n_x)
                same = labels[min(max(i, 0), n_y - 1), min(max(j, 0), n_x - 1)] == own
                bits |= np.int64(inside & same) << place
                place += 1
    whole: bool = _WHOLE[bits]
    return whole
