"""The tables of regions and contacts of one block; all arrays are workspace, longer than used.

A contact is one uint64 key, ``cost << 32 | u << 16 | v`` with u < v, beside its border. The cost
is a float32 >= 0, whose bits sort like its value; so the smaller key is the smaller (cost, u, v),
exactly and without a tie. Sixteen bits are enough: no two neighbouring pixels are both lowest, so
a block of 512 x 512 or of 64 x 64 x 64 has at most 65536 basins.
"""

from typing import NamedTuple

from spixgraph.arrays import Array


class Contacts(NamedTuple):
    """Pairs of regions that share pixel sides; the first n rows are valid."""

    key: Array  # (E,) uint64
    border: Array  # (E,) uint64, pixel sides << 40 | sum of the gradients of the pixel sides
    top: Array  # (E,) uint16, largest gradient of the pixel sides; as found, merging leaves it


class Regions(NamedTuple):
    """What is known of each region; the first n rows are valid."""

    n_pixels: Array  # (n,) int64
    total: Array  # (n, P) int64, sums of the P planes
    mean: Array  # (n, P) float32
    parent: Array  # (n,) int32, itself where a region stands for itself
    best: Array  # (n,) uint64, smallest key of its contacts
    state: Array  # (n,) uint8, see `merging`
