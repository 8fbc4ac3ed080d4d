"""The contacts of the superpixels of a block, in order."""

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
def sort_contacts(contacts: Contacts, start: Array, row: Array, to: Pairs) -> None:
    """Write contacts as pairs of superpixels u < v, sorted by u, then v.

    `start` (n + 1,) and `row` (P,) int32 are workspace, for n superpixels and P contacts.
    """
    start[:] = 0
    for i in range(row.size):
        start[(contacts.key[i] >> _BITS) + np.uint64(1)] += 1
    for u in range(start.size - 1):
        start[u + 1] += start[u]
    for i in range(row.size):
        first = contacts.key[i] >> _BITS
        row[np.uint32(start[first])] = i
        start[first] += 1
    for i in range(row.size):
        key, border = contacts.key[row[i]], contacts.border[row[i]]
        low, high = np.int64(key >> _BITS), np.int64(key & _LOW)
        top = np.int32(contacts.top[row[i]])
        j = i
        while j > 0 and to.pairs[0, j - 1] == low and to.pairs[1, j - 1] > high:
            _move(to, j)
            j -= 1
        to.pairs[0, j], to.pairs[1, j] = low, high
        to.length_px[j], to.gradient_sum[j] = border >> _SIDES, border & _GRADIENT
        to.gradient_max[j] = top


@kernel
def _move(to: Pairs, j: int) -> None:
    """Move a row one back."""
    to.pairs[0, j], to.pairs[1, j] = to.pairs[0, j - 1], to.pairs[1, j - 1]
    to.length_px[j], to.gradient_sum[j] = to.length_px[j - 1], to.gradient_sum[j - 1]
    to.gradient_max[j] = to.gradient_max[j - 1]
