"""Merging of regions: rounds in which regions that are each other's best partner become one.

Merging u and v costs ``w (|mean_u - mean_v|² + b excess²)`` with ``w = n_u n_v / (n_u + n_v)``:
Ward's criterion, plus the excess of the mean gradient along the border over that inside u and v,
so that texture is no border. A round merges what costs less than a threshold; thresholds rise to
the merge cost, where rounds go on until nothing merges, so that the number of regions has few
jumps. No step depends on an order, so a parallel program gives the same regions.

Loops are written so that the processor need not guess: compaction adds a truth value to a counter.
"""

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel
from spixgraph.superpixels.basins.tables import Buckets, Contacts, Regions

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
_ZERO = np.uint64(0)
_BORDER_WEIGHT = np.float32(BORDER_WEIGHT)

_PAIRED, _ADOPTED = 1, 2  # states of a region within a round; 0 is neither


@kernel
def unite(
    loose: Contacts, n_loose: int, n_regions: int, buckets: Buckets, contacts: Contacts, n: int
) -> int:
    """Append `loose` rows, keys without cost, to `contacts`, one row per pair; return the length.

    Rows are sorted by u in one counting pass; within a u, `buckets.row` tells where v is.
    """
    start, row = buckets.start, buckets.row
    start[: n_regions + 1] = 0
    for i in range(n_loose):
        start[(loose.key[i] >> _BITS) + np.uint64(1)] += 1
    for u in range(n_regions):
        start[u + 1] += start[u]
    for i in range(n_loose):
        u = loose.key[i] >> _BITS
        place = start[u]
        start[u] = place + 1
        buckets.high[place] = loose.key[i] & _LOW
        buckets.border[place] = loose.border[i]
    row[:n_regions] = -1
    begin = 0
    for u in range(n_regions):
        first = n
        for i in range(begin, start[u]):
            v = buckets.high[i]
            fresh = row[v] < first
            to = n if fresh else row[v]
            row[v] = to
            contacts.key[to] = np.uint64(u) << _BITS | np.uint64(v)
            contacts.border[to] = buckets.border[i] + (_ZERO if fresh else contacts.border[to])
            n += fresh
        begin = start[u]
    return n


@kernel
def _set_mean(regions: Regions, i: int) -> None:
    share = 1.0 / regions.n_pixels[i]
    for p in range(regions.total.shape[1]):
        regions.mean[i, p] = regions.total[i, p] * share


@kernel
def _set_cost(contacts: Contacts, row: int, regions: Regions) -> None:
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
    cost = np.float32(n_u * n_v / (n_u + n_v)) * apart
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
def _pair_up(alive: Array, n_alive: int, regions: Regions, limit: np.uint64) -> int:
    """Merge regions that are each other's best, v into u; return how many are gone.

    ``u ^ v ^ i`` is the other one of i.
    """
    n_paired = 0
    for j in range(n_alive):
        i = np.uint64(alive[j])
        key = regions.best[i]
        u, v = key >> _BITS & _LOW, key & _LOW
        mutual = (key < limit) & (regions.best[u ^ v ^ i] == key)
        regions.parent[i] = u if mutual else i
        regions.state[i] = _PAIRED if mutual else 0
        n_paired += mutual
    return n_paired // 2


@kernel
def _adopt(alive: Array, n_alive: int, regions: Regions, limit: np.uint64) -> int:
    """Let a small region join its best neighbour if that one is four times its size and merges.

    Else a large region would take in its many small neighbours one by one.
    """
    n_adopted = 0
    for j in range(n_alive):
        i = np.uint64(alive[j])
        key = regions.best[i]
        other = (key >> _BITS & _LOW) ^ (key & _LOW) ^ i
        small = regions.n_pixels[i] * ADOPT_RATIO < regions.n_pixels[other]
        free = (regions.state[i] == 0) & (regions.state[other] == _PAIRED)
        joins = (key < limit) & free & small
        regions.parent[i] = regions.parent[other] if joins else regions.parent[i]
        regions.state[i] = _ADOPTED if joins else regions.state[i]
        n_adopted += joins
    return n_adopted


@kernel
def _absorb(alive: Array, n_alive: int, regions: Regions, gone: Array) -> int:
    """Add up merged regions; return how many are left in `alive`."""
    left, n_gone = 0, 0
    for j in range(n_alive):
        i = alive[j]
        stays = regions.parent[i] == i
        alive[left] = i
        gone[n_gone] = i
        left += stays
        n_gone += not stays
    for j in range(n_gone):
        i = gone[j]
        to = regions.parent[i]
        regions.n_pixels[to] += regions.n_pixels[i]
        for p in range(regions.total.shape[1]):
            regions.total[to, p] += regions.total[i, p]
    for j in range(n_gone):
        _set_mean(regions, regions.parent[gone[j]])
    return left


@kernel
def _set_aside(contacts: Contacts, n: int, state: Array, aside: Contacts) -> tuple[int, int]:
    """Move the contacts of regions that merged to `aside`; return how many stay, how many go."""
    left, moved = 0, 0
    for row in range(n):
        key, border = contacts.key[row], contacts.border[row]
        changed = (state[key >> _BITS & _LOW] | state[key & _LOW]) != 0
        contacts.key[left] = key
        contacts.border[left] = border
        aside.key[moved] = key
        aside.border[moved] = border
        left += not changed
        moved += changed
    return left, moved


@kernel
def _rename(aside: Contacts, n: int, parent: Array) -> int:
    """Name contacts by their merged regions, without cost; drop those within one region."""
    left = 0
    for row in range(n):
        key, border = aside.key[row], aside.border[row]
        a, b = parent[key >> _BITS & _LOW], parent[key & _LOW]
        aside.key[left] = np.uint64(min(a, b)) << _BITS | np.uint64(max(a, b))
        aside.border[left] = border
        left += a != b
    return left


@kernel
def merge(
    contacts: Contacts,
    n_contacts: int,
    regions: Regions,
    n_regions: int,
    merge_cost: float,
    aside: Contacts,
    buckets: Buckets,
    alive: Array,
    gone: Array,
) -> int:
    """Merge in place, following `regions.parent`; return the number of contacts left."""
    for i in range(n_regions):
        alive[i] = i
        regions.parent[i] = i
        _set_mean(regions, i)
    for row in range(n_contacts):
        _set_cost(contacts, row, regions)
    n_alive = n_regions
    for level in range(N_LEVELS):
        threshold = np.float32(merge_cost * LEVEL_RATIO ** (level + 1 - N_LEVELS))
        limit = np.uint64(threshold.view(np.uint32)) << _COST
        for _ in range(MAX_ROUNDS):
            _find_best(contacts, n_contacts, alive, n_alive, regions.best)
            n_merged = _pair_up(alive, n_alive, regions, limit)
            if n_merged == 0:
                break
            n_merged += _adopt(alive, n_alive, regions, limit)
            n_alive = _absorb(alive, n_alive, regions, gone)
            left, moved = _set_aside(contacts, n_contacts, regions.state, aside)
            moved = _rename(aside, moved, regions.parent)
            n_contacts = unite(aside, moved, n_regions, buckets, contacts, left)
            for row in range(left, n_contacts):
                _set_cost(contacts, row, regions)
            if level + 1 < N_LEVELS and n_merged < MIN_MERGED * n_alive:
                break
    return n_contacts


@kernel
def name_regions(parent: Array, n_regions: int, name: Array) -> int:
    """Replace the parents by the numbers 0..n-1 of the merged regions; return n.

    Numbers follow the first basin of each region. `name` is workspace.
    """
    moved = 1
    while moved != 0:
        moved = 0
        for i in range(n_regions):
            further = parent[parent[i]]
            moved |= further ^ parent[i]
            parent[i] = further
    name[:n_regions] = -1
    n = 0
    for i in range(n_regions):
        if name[parent[i]] < 0:
            name[parent[i]] = n
            n += 1
    for i in range(n_regions):
        parent[i] = name[parent[i]]
    return n


@kernel
def rename_pixels(labels: Array, name: Array) -> None:
    """Replace each of the flat labels, in place, by its name."""
    for i in range(labels.size):
        labels[i] = name[np.uint32(labels[i])]
