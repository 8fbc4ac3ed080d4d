"""Slow, obvious twins of the kernels of `spixgraph.superpixels.basins`."""

import itertools

import numpy as np
from scipy.ndimage import label as connected

from spixgraph.superpixels.basins import refining, refining_volume
from spixgraph.superpixels.basins.merging import (
    ADOPT_RATIO,
    BORDER_WEIGHT,
    LEVEL_RATIO,
    MAX_ROUNDS,
    MIN_MERGED,
    N_LEVELS,
)


def smooth_slow(values, axes):
    """Filter a small integer array along some axes, shorter by four each."""
    values = values.astype(np.int64)
    for axis in axes:
        n = values.shape[axis] - 4
        parts = [np.take(values, range(i, i + n), axis) for i in range(5)]
        weighted = sum(w * part for w, part in zip((1, 4, 6, 4, 1), parts, strict=True))
        values = np.floor(weighted / 16 + 0.5).astype(np.int64)
    return values


def squared_gradient_slow(smooth, *, is_volume):
    inside = [slice(1, -1) if is_volume else slice(None), slice(1, -1), slice(1, -1)]
    square = 0
    for axis in range(0 if is_volume else 1, 3):
        after, before = list(inside), list(inside)
        after[axis], before[axis] = slice(2, None), slice(0, -2)
        square = square + (smooth[tuple(after)] - smooth[tuple(before)]) ** 2
    return square


def gradient_slow(tile, halo_zyx):
    """Gradient of a block from (C, ...) levels with halo."""
    is_volume = halo_zyx[0] > 0
    axes = (0, 1, 2) if is_volume else (1, 2)
    square = 0
    for channel in tile:
        twice = smooth_slow(smooth_slow(channel, axes), axes)
        square = square + squared_gradient_slow(twice, is_volume=is_volume)
    square = np.minimum(square, 2**32 - 1).astype(np.float32)
    return np.minimum(np.sqrt(square).astype(np.int64), 65534)


def rounded_slow(gradient, flatness):
    """Round gradients down to steps of a part of their lower median, of every third pixel."""
    some = np.sort(gradient[:, ::3, ::3], axis=None)
    median = int(some[(len(some) - 1) // 2])
    share = np.float32(1 / max(1.0, flatness * median))
    return (gradient.astype(np.float32) * share).astype(np.int64)


def basins_slow(gradient, *, is_volume):
    """Label basins by walking from every pixel; ids in the order of the lowest pixel."""
    near = list(itertools.product((-1, 0, 1), repeat=3))
    near = [d for d in near if is_volume or d[0] == 0]
    ends = np.empty(gradient.shape, np.int64)
    for start in np.ndindex(*gradient.shape):
        at, last = start, None
        while at != last:
            last = at
            around = [tuple(np.add(at, d)) for d in near]
            inside = [
                p for p in around if all(0 <= i < n for i, n in zip(p, gradient.shape, strict=True))
            ]
            at = min(inside, key=lambda p: (gradient[p], p))
        ends[start] = np.ravel_multi_index(at, gradient.shape)
    return np.unique(ends, return_inverse=True)[1].reshape(gradient.shape)


def by_first_pixel(labels):
    """Number labels 0..n-1 in the order of their first pixel."""
    names: dict[int, int] = {}
    flat = [names.setdefault(int(i), len(names)) for i in labels.ravel()]
    return np.array(flat).reshape(labels.shape)


def contacts_slow(labels, gradient):
    """Map (u, v) to [faces, sum of gradients, largest gradient]; sides of two labels."""
    found: dict[tuple[int, int], list[int]] = {}
    for axis in range(3):
        for a in np.ndindex(*labels.shape):
            b = tuple(i + (k == axis) for k, i in enumerate(a))
            if b[axis] < labels.shape[axis] and labels[a] != labels[b]:
                u, v = sorted((int(labels[a]), int(labels[b])))
                steep = max(int(gradient[a]), int(gradient[b]))
                row = found.setdefault((u, v), [0, 0, 0])
                row[:] = row[0] + 1, row[1] + steep, max(row[2], steep)
    return found


def cost_slow(u, v, count, total, border, compactness):
    """Cost of merging two regions, in float32 as the kernel."""
    f = np.float32
    mean_u, mean_v = ([f(t * (1.0 / count[i])) for t in total[i]] for i in (u, v))
    steep = f(border[1]) / f(border[0])
    excess = max(steep - (mean_u[-1] + mean_v[-1]) * f(0.5), f(0))
    apart = f(BORDER_WEIGHT) * (excess * excess)
    for a, b in zip(mean_u[:-1], mean_v[:-1], strict=True):
        apart = apart + (a - b) * (a - b)
    n_u, n_v = f(count[u]), f(count[v])
    weight = f(n_u * n_v / (n_u + n_v))
    return weight * apart * (f(1) + f(compactness) * np.sqrt(weight) / f(border[0]))


def merge_slow(count, total, contacts, merge_cost, compactness):
    """Merge regions as told in `merging`.

    Return the region of each basin, contacts, and size and sums of each region.
    """
    count = {i: int(n) for i, n in enumerate(count)}
    total = {i: [int(t) for t in row] for i, row in enumerate(total)}
    contacts = {pair: list(border) for pair, border in contacts.items()}
    region = list(range(len(count)))
    for level in range(N_LEVELS):
        limit = np.float32(merge_cost * LEVEL_RATIO ** (level + 1 - N_LEVELS))
        for _ in range(MAX_ROUNDS):
            into = _one_round(count, total, contacts, limit, compactness)
            if not into:
                break
            region = [into.get(r, r) for r in region]
            contacts = _renamed(contacts, into)
            for i, to in into.items():
                count[to] += count.pop(i)
                total[to] = [a + b for a, b in zip(total[to], total.pop(i), strict=True)]
            if level + 1 < N_LEVELS and len(into) < MIN_MERGED * len(count):
                break
    return region, contacts, count, total


def _one_round(count, total, contacts, limit, compactness):
    """Return who merges into whom."""
    best: dict[int, tuple[np.float32, int, int]] = {}
    for (u, v), border in contacts.items():
        key = (cost_slow(u, v, count, total, border, compactness), u, v)
        for i in (u, v):
            best[i] = min(best.get(i, key), key)
    pairs = {(u, v) for cost, u, v in best.values() if cost < limit and best[u] == best[v]}
    into = {v: u for u, v in pairs}
    paired = {i for pair in pairs for i in pair}
    if not into:
        return into
    for i, (cost, u, v) in best.items():
        other = v if u == i else u
        small = count[i] * ADOPT_RATIO < count[other]
        if small and i not in paired and cost < limit and other in paired:
            into[i] = next(a for a, b in pairs if other in (a, b))
    return into


def _renamed(contacts, into):
    out: dict[tuple[int, int], list[int]] = {}
    for (u, v), border in contacts.items():
        a, b = sorted((into.get(u, u), into.get(v, v)))
        if a != b:
            row = out.setdefault((a, b), [0, 0])
            row[:] = row[0] + border[0], row[1] + border[1]
    return out


def refine_slow(labels, once, count, total, *, is_volume):
    """Refine labels (Z, Y, X) as told in `refining`; `once` is (C, Z, Y, X)."""
    labels, count, f = labels.copy(), dict(count), np.float32
    mean = {i: [f(t * (1.0 / count[i])) for t in row] for i, row in total.items()}
    module = refining_volume if is_volume else refining
    spread, weight = module.SPREAD, f(module.SMOOTHNESS)
    steps = [(0, -1, 0), (0, 0, -1), (0, 0, 1), (0, 1, 0)]
    steps = [(-1, 0, 0), *steps, (1, 0, 0)] if is_volume else steps
    lines = list(np.ndindex(*labels.shape[:2]))
    for line in [*lines, *lines[::-1]] if is_volume else lines:
        before = labels.copy()
        for x in range(labels.shape[2]):
            at = (*line, x)
            if all(_beside(before, at, step) == before[at] for step in steps):
                continue
            own, near = int(labels[at]), [_beside(labels, at, step) for step in steps]
            smooth = weight * mean[own][-1] * mean[own][-1]

            def cost(label, at=at, near=near, smooth=smooth):
                apart = f(0)
                for c, channel in enumerate(once):
                    apart = apart + (f(channel[at]) - mean[label][c]) ** 2
                same = f(near.count(label))
                return (f(spread) - same) * apart - same * smooth

            to = min([own, *near], key=cost)
            if to != own and count[own] > 1 and _is_whole_slow(labels, at, is_volume=is_volume):
                labels[at] = to
                count[own] -= 1
                count[to] += 1
    return labels


def _beside(labels, at, step):
    """The label of a neighbour; its own at the end of the block."""
    there = tuple(np.clip(np.add(at, step), 0, np.array(labels.shape) - 1))
    return int(labels[there])


def _is_whole_slow(labels, at, *, is_volume):
    """Whether the pixels of a label around one of them are in one piece."""
    z, y, x = at
    deep = slice(max(z - 1, 0), z + 2) if is_volume else slice(z, z + 1)
    around = labels[deep, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] == labels[at]
    around[z - deep.start, y - max(y - 1, 0), x - max(x - 1, 0)] = False
    return connected(around, np.ones((3, 3, 3)))[1] == 1
