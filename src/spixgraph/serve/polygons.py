"""Class masks as polygons on pixel corners, exact in both directions."""

import itertools
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from spixgraph.arrays import Array, Bool, Int64
from spixgraph.errors import InputError

Point = list[int]
Ring = list[Point]
Polygon = list[Ring]

MAX_CORNERS = 4_000_000
_RIGHT, _DOWN, _LEFT, _UP = range(4)
_STEP_YX = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])


def polygons_of(inside: Bool) -> list[Polygon]:
    """Outline the 4-connected regions of a mask.

    Parameters
    ----------
    inside : (Y, X) bool

    Returns
    -------
    polygons : list of polygons
        One per region in the order of its first pixel: the outer ring, then the holes. A ring is
        a closed list of [x, y] pixel corners; outer rings run counterclockwise in the plane of x
        and y, holes clockwise, as RFC 7946 has it. Filling them gives the mask again.

    Raises
    ------
    InputError
        If there are more than `MAX_CORNERS` border edges.
    """
    start, direction, pixel = _border_edges(inside)
    if len(start) > MAX_CORNERS:
        raise InputError(
            f"the outlines have {len(start):,} edges, {MAX_CORNERS:,} are the limit; ask for a "
            "mask as tiff or png, or for fewer classes"
        )
    following = _following(start, direction, inside.shape[1] + 1)
    regions, _ = ndimage.label(inside)
    by_region: dict[int, Polygon] = defaultdict(list)
    for first, ring in _rings(start, direction, following, inside.shape[1] + 1):
        rings = by_region[int(regions.reshape(-1)[pixel[first]])]
        rings.insert(0 if _area2(ring) > 0 else len(rings), ring)
    return [by_region[region] for region in sorted(by_region)]


def _border_edges(inside: Bool) -> tuple[Int64, Array, Int64]:
    """Find the unit edges around the pixels of the mask, the mask on the right hand of each.

    Returns
    -------
    start : (E,) int64
        Corner where the edge begins, as y * (X + 1) + x.
    direction : (E,) int8
    pixel : (E,) int64
        The pixel on its right hand.
    """
    n_y, n_x = inside.shape
    padded = np.zeros((n_y + 2, n_x + 2), bool)
    padded[1:-1, 1:-1] = inside
    outside = {
        _RIGHT: ~padded[:-2, 1:-1],  # above the pixel: its upper edge runs to the right
        _DOWN: ~padded[1:-1, 2:],
        _LEFT: ~padded[2:, 1:-1],
        _UP: ~padded[1:-1, :-2],
    }
    first_corner = {_RIGHT: (0, 0), _DOWN: (0, 1), _LEFT: (1, 1), _UP: (1, 0)}
    parts = []
    for way, beyond in outside.items():
        y, x = np.nonzero(inside & beyond)
        dy, dx = first_corner[way]
        corner = (y + dy) * (n_x + 1) + x + dx
        parts.append((corner, np.full(len(y), way, np.int8), y * n_x + x))
    start, direction, pixel = (np.concatenate(column) for column in zip(*parts, strict=True))
    return start, direction, pixel


def _following(start: Int64, direction: Array, corners_x: int) -> Int64:
    """Index of the edge after each.

    Where two pixels touch by a corner only, two edges begin; the turn to the right stays with
    the own pixel, which keeps regions 4-connected.
    """
    step = _STEP_YX @ np.array([corners_x, 1])
    end = start + step[direction]
    key = start * 4 + direction
    order = np.argsort(key)
    ordered = key[order]
    following = np.full(len(start), -1, np.int64)
    for turn in (3, 0, 1):  # left, straight, right: the last one found wins
        wanted = end * 4 + (direction + turn) % 4
        place = np.searchsorted(ordered, wanted).clip(max=max(len(ordered) - 1, 0))
        found = ordered[place] == wanted
        following[found] = order[place[found]]
    return following


def _rings(
    start: Int64, direction: Array, following: Int64, corners_x: int
) -> Iterator[tuple[int, Ring]]:
    """Walk each ring once, keeping the corners where it turns."""
    corners, ways, after = start.tolist(), direction.tolist(), following.tolist()
    seen = bytearray(len(corners))
    for first in range(len(corners)):
        if seen[first]:
            continue
        ring, edge, before = [], first, -1
        while not seen[edge]:
            seen[edge] = 1
            if ways[edge] != before:
                y, x = divmod(corners[edge], corners_x)
                ring.append([x, y])
            before = ways[edge]
            edge = after[edge]
        if ways[first] == before:  # the walk began in the middle of a straight run
            del ring[0]
        ring.append(ring[0])
        yield first, ring


def _area2(ring: Ring) -> int:
    """Twice the signed area."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in itertools.pairwise(ring))
