"""Region adjacency of the basins of one block, and their merging.

A contact is one uint64 key, ``cost << 32 | u << 16 | v`` with u < v, beside its length and summed
boundary gradient. The cost is a non-negative float32, whose bits sort like its value; so the
smaller key is the smaller (cost, u, v), exactly and without a tie. A block has at most 65536 basins
because no two neighbouring pixels are both lowest.
"""

from typing import NamedTuple

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel

NO_KEY = np.uint64(0xFFFFFFFFFFFFFFFF)
_PAIR = np.uint64(0xFFFFFFFF)
_LOW = np.uint64(0xFFFF)
_SIDE = np.uint64(1 << 40)


class Contacts(NamedTuple):
    """Unordered pairs of regions that share a border; workspace, the first n rows are valid."""

    key: Array  # (E,) uint64, cost << 32 | u << 16 | v with u < v
    border: Array  # (E,) uint64, pixel sides << 40 | summed gradient of the pixel sides


class Buckets(NamedTuple):
    """Workspace of `_unite`."""

    start: Array  # (65537,) int32
    mark: Array  # (65536,) int32
    high: Array  # (E,) uint16
    border: Array  # (E,) uint64


class Regions(NamedTuple):
    """Sums of each region; workspace, the first n rows are valid."""

    count: Array  # (n,) int64
    total: Array  # (n, P) int64
    mean: Array  # (n, P) float32
    parent: Array  # (n,) int32
    best: Array  # (n,) uint64
    touched: Array  # (n,) uint8


@kernel
def _line_contacts(a, b, ga, gb, where, raw, n):
    """Append the contacts between two facing lines of labels; return the number of rows."""
    found = 0
    for x in range(a.size):
        where[found] = x
        found += a[x] != b[x]
    for i in range(found):
        x = where[i]
        low, high = np.uint64(min(a[x], b[x])), np.uint64(max(a[x], b[x]))
        raw.key[n + i] = low << np.uint64(16) | high
        raw.border[n + i] = _SIDE | np.uint64(max(ga[x], gb[x]))
    return n + found


@kernel
def find_contacts(labels, padded, where, raw):
    """Collect the face contacts of (Z, Y, X) labels, one row per pixel side; return their number."""
    n = 0
    depth = padded.shape[0] - labels.shape[0]
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            row, grey = labels[z, y], padded[z + depth // 2, y + 1, 1:]
            n = _line_contacts(row[:-1], row[1:], grey, grey[1:], where, raw, n)
            if y + 1 < labels.shape[1]:
                down = padded[z + depth // 2, y + 2, 1:]
                n = _line_contacts(row, labels[z, y + 1], grey, down, where, raw, n)
            if z + 1 < labels.shape[0]:
                below = padded[z + 1 + depth // 2, y + 1, 1:]
                n = _line_contacts(row, labels[z + 1, y], grey, below, where, raw, n)
    return n


@kernel
def unite(raw, n_raw, n_regions, buckets, contacts, n):
    """Append the contacts of `raw` to `contacts`, one row per pair; return the number of rows."""
    start, mark = buckets.start, buckets.mark
    start[: n_regions + 1] = 0
    for i in range(n_raw):
        start[(raw.key[i] >> np.uint64(16)) + np.uint64(1)] += 1
    for u in range(n_regions):
        start[u + 1] += start[u]
    for i in range(n_raw):
        u = raw.key[i] >> np.uint64(16)
        place = start[u]
        start[u] = place + 1
        buckets.high[place] = raw.key[i] & _LOW
        buckets.border[place] = raw.border[i]
    mark[:n_regions] = -1
    i = 0
    for u in range(n_regions):
        first = n
        for i in range(start[u - 1] if u > 0 else 0, start[u]):
            v = buckets.high[i]
            fresh = mark[v] < first
            row = n if fresh else mark[v]
            mark[v] = row
            contacts.key[row] = np.uint64(u) << np.uint64(16) | np.uint64(v)
            contacts.border[row] = buckets.border[i] + (np.uint64(0) if fresh else contacts.border[row])
            n += fresh
    return n


@kernel
def sum_regions(labels, planes, n, ends, prefix, regions):
    """Count the pixels of each region and sum its planes (P, Z, Y, X) uint16."""
    regions.count[:n] = 0
    regions.total[:n] = 0
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            row = labels[z, y]
            runs = 0
            for x in range(row.size - 1):
                ends[runs] = x + 1
                runs += row[x] != row[x + 1]
            ends[runs] = row.size
            begin = 0
            for i in range(runs + 1):
                regions.count[row[begin]] += ends[i] - begin
                begin = ends[i]
            for p in range(planes.shape[0]):
                plane = planes[p, z, y]
                sum_ = 0
                prefix[0]=0
                for x in range(row.size):
                    sum_ += plane[x]
                    prefix[x + 1] = sum_
                begin = 0
                for i in range(runs + 1):
                    regions.total[row[begin], p] += prefix[ends[i]] - prefix[begin]
                    begin = ends[i]


@kernel
def _set_mean(regions, i):
    share = 1.0 / regions.count[i]
    for p in range(regions.total.shape[1]):
        regions.mean[i, p] = regions.total[i, p] * share


@kernel
def _set_cost(contacts, row, regions, weight, bw):
    pair = contacts.key[row] & _PAIR
    u, v = pair >> np.uint64(16), pair & _LOW
    difference = np.float32(0)
    for p in range(weight.size):
        step = regions.mean[u, p] - regions.mean[v, p]
        difference += weight[p] * (step * step)
    nu, nv = np.float32(regions.count[u]), np.float32(regions.count[v])
    border = contacts.border[row]
    edge = np.float32(border & (_SIDE - np.uint64(1))) / np.float32(border >> np.uint64(40))
    cost = np.float32(nu * nv / (nu + nv)) * (difference + bw * (edge * edge))
    contacts.key[row] = pair | np.uint64(np.float32(cost).view(np.uint32)) << np.uint64(32)


@kernel
def _find_best(contacts, n, alive, n_alive, regions, limit):
    for i in range(n_alive):
        regions.best[alive[i]] = NO_KEY
        regions.touched[alive[i]] = 0
    for row in range(n):
        key = contacts.key[row]
        u, v = key >> np.uint64(16) & _LOW, key & _LOW
        regions.best[u] = min(regions.best[u], key)
        regions.best[v] = min(regions.best[v], key)


@kernel
def _pair_up(alive, n_alive, regions, limit):
    """Let regions that are each other's best merge: the later one gets the earlier as parent."""
    merged = 0
    for j in range(n_alive):
        i = np.uint64(alive[j])
        key = regions.best[i]
        u, v = key >> np.uint64(16) & _LOW, key & _LOW
        mutual = (key < limit) & (regions.best[u ^ v ^ i] == key)
        regions.parent[i] = u if mutual else i
        regions.touched[i] = mutual
        merged += mutual
    return merged // 2


@kernel
def _adopt(alive, n_alive, regions, limit, hub):
    """Let a small region join its best neighbour where that one merges with another one."""
    merged = 0
    for j in range(n_alive):
        i = np.uint64(alive[j])
        key = regions.best[i]
        other = (key >> np.uint64(16) & _LOW) ^ (key & _LOW) ^ i
        joins = (key < limit) & (regions.touched[i] == 0) & (regions.touched[other] == 1) & (regions.count[i] * hub < regions.count[other])
        regions.parent[i] = regions.parent[other] if joins else regions.parent[i]
        regions.touched[i] += 2 * joins
        merged += joins
    return merged


@kernel
def _absorb(alive, n_alive, regions, gone):
    left, n_gone = 0, 0
    for j in range(n_alive):
        i = alive[j]
        root = regions.parent[i] == i
        alive[left] = i
        gone[n_gone] = i
        left += root
        n_gone += not root
    for j in range(n_gone):
        i = gone[j]
        to = regions.parent[i]
        regions.count[to] += regions.count[i]
        for p in range(regions.total.shape[1]):
            regions.total[to, p] += regions.total[i, p]
    for j in range(n_gone):
        _set_mean(regions, regions.parent[gone[j]])
    return left


@kernel
def _set_aside(contacts, n, regions, aside):
    """Move the contacts of touched regions to `aside`, renamed; return how many stay and moved."""
    left, moved = 0, 0
    for row in range(n):
        key, border = contacts.key[row], contacts.border[row]
        touched = (regions.touched[key >> np.uint64(16) & _LOW] | regions.touched[key & _LOW]) != 0
        contacts.key[left] = key
        contacts.border[left] = border
        aside.key[moved] = key
        aside.border[moved] = border
        left += not touched
        moved += touched
    return left, moved


@kernel
def _rename(aside, moved, regions):
    """Give contacts the names of their merged regions; drop those within one region."""
    left = 0
    for row in range(moved):
        key, border = aside.key[row], aside.border[row]
        a, b = regions.parent[key >> np.uint64(16) & _LOW], regions.parent[key & _LOW]
        aside.key[left] = np.uint64(min(a, b)) << np.uint64(16) | np.uint64(max(a, b))
        aside.border[left] = border
        left += a != b
    return left


@kernel
def merge(contacts, n_contacts, regions, n_regions, alive, aside, buckets, gone, weight, bw, lam, n_levels, ratio, max_rounds, min_fraction, hub, stat):
    for i in range(n_regions):
        alive[i] = i
        regions.parent[i] = i
        _set_mean(regions, i)
    for row in range(n_contacts):
        _set_cost(contacts, row, regions, weight, bw)
    n_alive = n_regions
    for level in range(n_levels):
        thr = np.float32(lam * ratio ** (level + 1 - n_levels))
        limit = np.uint64(thr.view(np.uint32)) << np.uint64(32)
        for _ in range(max_rounds):
            stat[0] += 1
            stat[1] += n_contacts
            stat[2] += n_alive
            _find_best(contacts, n_contacts, alive, n_alive, regions, limit)
            merged = _pair_up(alive, n_alive, regions, limit)
            if merged == 0:
                break
            merged += _adopt(alive, n_alive, regions, limit, hub)
            n_alive = _absorb(alive, n_alive, regions, gone)
            left, moved = _set_aside(contacts, n_contacts, regions, aside)
            stat[3] += moved
            moved = _rename(aside, moved, regions)
            n_contacts = unite(aside, moved, n_regions, buckets, contacts, left)
            for i in range(left, n_contacts):
                _set_cost(contacts, i, regions, weight, bw)
            if merged < min_fraction * n_alive:
                break
    return n_alive, n_contacts
