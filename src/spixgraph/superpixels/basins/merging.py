"""Merging of regions: rounds in which regions that are each other's best partner become one.

Merging u and v costs ``w (|mean_u - mean_v|² + b excess²)`` with ``w = n_u n_v / (n_u + n_v)``:
Ward's criterion, plus the excess of the mean gradient along the border over that inside u and v,
so that texture is no border. Times ``1 + c sqrt(w) / sides``, c the compactness of the plan, so
that a short border costs more. A round merges what costs less than a threshold; thresholds rise
to the merge cost, where rounds go on until nothing merges, so that the number of regions has few
jumps. No step depends on an order, so a parallel program gives the same regions.

Loops are written so that the processor need not guess: compaction adds a truth value to a counter.
"""

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel
from spixgraph.superpixels.basins.tables import Contacts, Regions

N_LEVELS, LEVEL_RATIO = 3, 8.0
MAX_ROUNDS, MIN_MERGED = 16, 0.05
ADOPT_RATIO = 4
BORDER_WEIGHT = 16.0

_NO_KEY = np.uint64(0xFFFFFFFFFFFFFFFF)
_PAIR = np.uint64(0xFFFFFFFF)
_LOW = np.uint64(0xFFFF)
_BITS = np.uint64(16)
_COST = np.uint64(32)
_SIDES = np.uint64(40)
_GRADIENT = np.uint64((1 << 40) - 1)
_1, _LEFT, _RIGHT = np.uint64(1), np.uint64(29), np.uint64(17)
_BORDER_WEIGHT = np.float32(BORDER_WEIGHT)

_PAIRED, _ADOPTED = 1, 2  # states of a region within a round; 0 is neither


@kernel
def _unite(loose: Contacts, n_loose: int, table: Array, contacts: Contacts, n: int) -> int:
    """Append `loose` rows, keys without cost, to `contacts`, one row per pair; return the length.

    None of the pairs stands in the rows before `n`. `table` uint64 is workspace, to tell where they
    stand behind it: ``key << 32 | row``.
    """
    size = 16
    while size < 2 * n_loose:
        size *= 2
    table[:size] = _NO_KEY
    mask = np.uint64(size - 1)
    for i in range(n_loose):
        key, border = loose.key[i], loose.border[i]
        slot = (key >> _BITS) * _LEFT + (key & _LOW) * _RIGHT & mask
        while table[slot] != _NO_KEY and table[slot] >> _COST != key:
            slot = slot + _1 & mask
        if table[slot] == _NO_KEY:
            table[slot] = key << _COST | np.uint64(n)
            contacts.key[np.uint32(n)] = key
            contacts.border[np.uint32(n)] = border
            n += 1
        else:
            contacts.border[np.uint32(table[slot])] += border
    return n


@kernel
def _set_mean(regions: Regions, i: int) -> None:
    share = 1.0 / regions.n_pixels[i]
    for p in range(regions.total.shape[1]):
        regions.mean[i, p] = regions.total[i, p] * share


@kernel
def _set_cost(contacts: Contacts, row: int, regions: Regions, compactness: np.float32) -> None:
    """Write the cost of a contact into its key."""
    pair = contacts.key[row] & _PAIR
    u, v = pair >> _BITS, pair & _LOW
    sides = np.float32(contacts.border[row] >> _SIDES)
    steep = np.float32(contacts.border[row] & _GRADIENT) / sides
    last = regions.mean.shape[1] - 1
    inside = (regions.mean[u, last] + regions.mean[v, last]) * np.float32(0.5)
    excess = max(steep - inside, np.float32(0))
    apart = _BORDER_WEIGHT * (excess * excess)
    for p in range(last):
        step = regions.mean[u, p] - regions.mean[v, p]
        apart += step * step
    n_u, n_v = np.float32(regions.n_pixels[u]), np.float32(regions.n_pixels[v])
    weight = np.float32(n_u * n_v / (n_u + n_v))
    cost = weight * apart * (np.float32(1) + compactness * np.sqrt(weight) / sides)
    contacts.key[row] = np.uint64(np.float32(cost).view(np.uint32)) << _COST | pair


@kernel
def _find_best(contacts: Contacts, n: int, alive: Array, n_alive: int, best: Array) -> None:
    """Find the cheapest contact of each region."""
    for j in range(n_alive):
        best[alive[j]] = _NO_KEY
    for row in range(n):
        key = contacts.key[row]
        u, v = key >> _BITS & _LOW, key & _LOW
        best[u] = min(best[u], key)
        best[v] = min(best[v], key)


@kernel
def _pair_up(
    alive: Array, n_alive: int, regions: Regions, limit: np.uint64, waiting: Array
) -> tuple[int, int]:
    """Merge regions that are each other's best, v into u; return how many are gone.

    ``u ^ v ^ i`` is the other one of i. Also list the regions that would merge, but are not the
    best of their best; return their number.
    """
    n_paired, n_waiting = 0, 0
    for j in range(n_alive):
        i = np.uint64(alive[j])
        key = regions.best[i]
        u, v = key >> _BITS & _LOW, key & _LOW
        cheap = key < limit
        mutual = cheap & (regions.best[u ^ v ^ i] == key)
        regions.parent[i] = u if mutual else i
        regions.state[i] = _PAIRED if mutual else 0
        n_paired += mutual
        waiting[n_waiting] = i
        n_waiting += cheap & (not mutual)
    return n_paired // 2, n_waiting


@kernel
def _adopt(waiting: Array, n_waiting: int, regions: Regions) -> int:
    """Let a small region join its best neighbour if that one is four times its size and merges.

    Else a large region would take in its many small neighbours one by one.
    """
    n_adopted = 0
    for j in range(n_waiting):
        i = np.uint64(waiting[j])
        key = regions.best[i]
        other = (key >> _BITS & _LOW) ^ (key & _LOW) ^ i
        small = regions.n_pixels[i] * ADOPT_RATIO < regions.n_pixels[other]
        joins = (regions.state[other] == _PAIRED) & small
        regions.parent[i] = regions.parent[other] if joins else regions.parent[i]
        regions.state[i] = _ADOPTED if joins else regions.state[i]
        n_adopted += joins
    return n_adopted


@kernel
def _absorb(alive: Array, n_alive: int, regions: Regions, gone: Array) -> int:
    """Add up merged regions; return how many are left in `alive`."""
    left, n_gone = 0, 0
    for j in range(n_alive):
        i = np.uint32(alive[j])
        stays = regions.parent[i] == i
        alive[left] = i
        gone[n_gone] = i
        left += stays
        n_gone += not stays
    for j in range(n_gone):
        i = np.uint32(gone[j])
        to = np.uint32(regions.parent[i])
        regions.n_pixels[to] += regions.n_pixels[i]
        for p in range(regions.total.shape[1]):
            regions.total[to, p] += regions.total[i, p]
    for j in range(n_gone):
        _set_mean(regions, np.uint32(regions.parent[np.uint32(gone[j])]))
    return left


@kernel
def _set_aside(contacts: Contacts, n: int, regions: Regions, aside: Contacts) -> tuple[int, int]:
    """Move the contacts of regions that merged to `aside`; return how many stay, how many go.

    They get the names of the merged regions, without cost; those within one region are dropped.
    """
    left, moved = 0, 0
    for row in range(n):
        key, border = contacts.key[row], contacts.border[row]
        u, v = key >> _BITS & _LOW, key & _LOW
        changed = (regions.state[u] | regions.state[v]) != 0
        a, b = regions.parent[u], regions.parent[v]
        contacts.key[left] = key
        contacts.border[left] = border
        aside.key[moved] = np.uint64(min(a, b)) << _BITS | np.uint64(max(a, b))
        aside.border[moved] = border
        left += not changed
        moved += changed & (a != b)
    return left, moved


@kernel
def merge(
    contacts: Contacts,
    n_contacts: int,
    regions: Regions,
    n_regions: int,
    merge_cost: float,
    compactness: np.float32,
    aside: Contacts,
    table: Array,
    alive: Array,
    gone: Array,
) -> int:
    """Merge in place, following `regions.parent`; return the number of contacts left."""
    for i in range(n_regions):
        alive[i] = i
        regions.parent[i] = i
        _set_mean(regions, i)
    for row in range(n_contacts):
        _set_cost(contacts, row, regions, compactness)
    n_alive = n_regions
    for level in range(N_LEVELS):
        threshold = np.float32(merge_cost * LEVEL_RATIO ** (level + 1 - N_LEVELS))
        limit = np.uint64(threshold.view(np.uint32)) << _COST
        for _ in range(MAX_ROUNDS):
            _find_best(contacts, n_contacts, alive, n_alive, regions.best)
            n_merged, n_waiting = _pair_up(alive, n_alive, regions, limit, gone)
            if n_merged == 0:
                break
            n_merged += _adopt(gone, n_waiting, regions)
            n_alive = _absorb(alive, n_alive, regions, gone)
            left, moved = _set_aside(contacts, n_contacts, regions, aside)
            n_contacts = _unite(aside, moved, table, contacts, left)
            for row in range(left, n_contacts):
                _set_cost(contacts, row, regions, compactness)
            if level + 1 < N_LEVELS and n_merged < MIN_MERGED * n_alive:
                break
    return n_contacts


@kernel
def find_ends(parent: Array, n_regions: int) -> int:
    """Let every basin point to the one that stands for its region; return how many do."""
    moved = 1
    while moved != 0:
        moved = 0
        for i in range(n_regions):
            further = parent[np.uint32(parent[i])]
            moved |= further ^ parent[i]
            parent[i] = further
    n = 0
    for i in range(n_regions):
        n += parent[i] == i
    return n


@kernel
def spread_labels(basins: Array, parent: Array, labels: Array) -> None:
    """Write the region of each of the flat `basins` (uint16) into flat `labels` (uint16)."""
    for i in range(basins.size):
        labels[i] = parent[basins[i]]


@kernel
def number_labels(labels: Array, name: Array) -> int:
    """Give flat labels the numbers 0..n-1, in place, in the order of their first pixel; return n.

    `name` int32 is workspace, longer than the largest label.
    """
    name[:] = -1
    n = 0
    for i in range(labels.size):
        label = labels[i]
        if name[label] < 0:
            name[label] = n
            n += 1
        labels[i] = name[label]
    return n
