"""Sums of the basins of one block, and the contacts between them."""

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel
from spixgraph.superpixels.basins.tables import Contacts, Regions

_SIDES = np.uint64(40)
_ONE_SIDE, _GRADIENT = np.uint64(1 << 40), np.uint64((1 << 40) - 1)
_BITS, _HALF = np.uint64(16), np.uint64(32)
_1, _LEFT, _RIGHT = np.uint64(1), np.uint64(29), np.uint64(17)
_FREE = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def find_contacts(
    labels: Array, padded: Array, place: Array, table: Array, contacts: Contacts
) -> int:
    """List pairs of basins that share pixel sides, one row each; return their number.

    The gradient of a side is the larger one of its two pixels. `table` uint64, a power of two long,
    holds ``key << 32 | row`` where a pair stands; where it gets more than half full, -1 is
    returned. `place` (X,) int32 is workspace.
    """
    n = 0
    table[:] = _FREE
    deep = (padded.shape[0] - labels.shape[0]) // 2
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            line, steep = labels[z, y], padded[z + deep, y + 1, 1:]
            n = _between(line[:-1], line[1:], steep, steep[1:], place, table, contacts, n)
            if y + 1 < labels.shape[1]:
                below = padded[z + deep, y + 2, 1:]
                n = _between(line, labels[z, y + 1], steep, below, place, table, contacts, n)
            if z + 1 < labels.shape[0]:
                behind = padded[z + deep + 1, y + 1, 1:]
                n = _between(line, labels[z + 1, y], steep, behind, place, table, contacts, n)
            if 2 * n + 6 * line.size > table.size:
                return -1
    return n


@kernel
def _between(
    a: Array,
    b: Array,
    steep_a: Array,
    steep_b: Array,
    place: Array,
    table: Array,
    contacts: Contacts,
    n: int,
) -> int:
    """Add the sides between two lines; found without branches, which the processor cannot guess."""
    found = 0
    for i in range(a.size):
        place[found] = i
        found += a[i] != b[i]
    mask = np.uint64(table.size - 1)
    for i in range(found):
        x = np.uint32(place[i])
        low, high = np.uint64(min(a[x], b[x])), np.uint64(max(a[x], b[x]))
        key, steep = low << _BITS | high, max(steep_a[x], steep_b[x])
        slot = low * _LEFT + high * _RIGHT & mask
        while table[slot] != _FREE and table[slot] >> _HALF != key:
            slot = slot + _1 & mask
        if table[slot] == _FREE:
            table[slot] = key << _HALF | np.uint64(n)
            contacts.key[np.uint32(n)] = key
            contacts.border[np.uint32(n)] = _ONE_SIDE | np.uint64(steep)
            contacts.top[np.uint32(n)] = steep
            n += 1
        else:
            row = np.uint32(table[slot])
            contacts.border[row] += _ONE_SIDE | np.uint64(steep)
            contacts.top[row] = max(contacts.top[row], steep)
    return n


@kernel
def sum_basins(
    labels: Array,
    once: Array,
    skip_z: int,
    skip: int,
    padded: Array,
    regions: Regions,
    both: Array,
) -> None:
    """Write the pixels of each basin to `n_pixels`, and channels and gradient summed to `total`.

    `once` (C, Z', Y', X') is longer than `labels` by `skip` on each side, along z by `skip_z`.
    `both` (n,) uint64 is workspace: pixels and gradient in one number, and the first channel in the
    same loop, so that two sums are on their way for each pixel, and no third.
    """
    n_channels, n = once.shape[0], both.size
    deep = (padded.shape[0] - labels.shape[0]) // 2
    both[:] = 0
    regions.total[:n] = 0
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            line, steep = labels[z, y], padded[z + deep, y + 1, 1:]
            values = once[0, z + skip_z, y + skip, skip:]
            for x in range(line.size):
                both[line[x]] += _ONE_SIDE | np.uint64(steep[x])
                regions.total[line[x], 0] += values[x]
            for c in range(1, n_channels):
                values = once[c, z + skip_z, y + skip, skip:]
                for x in range(line.size):
                    regions.total[line[x], c] += values[x]
    for i in range(n):
        regions.n_pixels[i] = both[i] >> _SIDES
        regions.total[i, n_channels] = both[i] & _GRADIENT
