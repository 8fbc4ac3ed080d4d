"""The contacts that merging has left, under the names of the superpixels, in order."""

from typing import NamedTuple

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel
from spixgraph.superpixels.basins.tables import Contacts

_BITS, _LOW = np.uint64(16), np.uint64(0xFFFF)
_SIDES, _GRADIENT = np.uint64(40), np.uint64((1 << 40) - 1)


class Pairs(NamedTuple):
    """Columns of `BlockGraph`: pairs (2, P), lengths, sums and maxima of the gradient (P,)."""

    pairs: Array  # int64
    length_px: Array  # int64
    gradient_sum: Array  # int64
    gradient_max: Array  # int32


@kernel
def sort_contacts(contacts: Contacts, name: Array, start: Array, row: Array, to: Pairs) -> None:
    """Write all contacts as pairs of superpixels u < v, sorted by u, then v.

    `name` int32 is the superpixel of each region that is left. `start` (n + 1,) and `row` (P,)
    int32 are workspace, for n superpixels.
    """
    start[:] = 0
    for i in range(row.size):
        start[np.uint32(min(*_ends(contacts, name, i))) + np.uint32(1)] += 1
    for i in range(start.size - 1):
        start[i + 1] += start[i]
    for i in range(row.size):
        u = np.uint32(min(*_ends(contacts, name, i)))
        row[np.uint32(start[u])] = i
        start[u] += 1
    for i in range(row.size):
        ends = _ends(contacts, name, row[i])
        low, high = min(*ends), max(*ends)
        border = contacts.border[row[i]]
        length, total = np.int64(border >> _SIDES), np.int64(border & _GRADIENT)
        top = np.int32(contacts.top[row[i]])
        j = i
        while j > 0 and to.pairs[0, j - 1] == low and to.pairs[1, j - 1] > high:
            _move(to, j)
            j -= 1
        to.pairs[0, j], to.pairs[1, j], to.length_px[j] = low, high, length
        to.gradient_sum[j], to.gradient_max[j] = total, top


@kernel
def _ends(contacts: Contacts, name: Array, i: int) -> tuple[int, int]:
    """Superpixels of a contact."""
    key = contacts.key[i]
    return name[key >> _BITS & _LOW], name[key & _LOW]


@kernel
def _move(to: Pairs, j: int) -> None:
    """Move a row one back."""
    to.pairs[0, j], to.pairs[1, j] = to.pairs[0, j - 1], to.pairs[1, j - 1]
    to.length_px[j], to.gradient_sum[j] = to.length_px[j - 1], to.gradient_sum[j - 1]
    to.gradient_max[j] = to.gradient_max[j - 1]
