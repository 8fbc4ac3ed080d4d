"""Objects placed cell by cell on a coarse grid, and their distance drawn into blocks.

The objects of a cell depend on the seed and the cell alone. A block asks for all cells from which
an object can reach it, so it sees the same objects however the image is cut.
"""

import numba
import numpy as np

from spixgraph.arrays import Float32, Float64

FAR = 1e4


def cell_generator(seed: int, tag: int, cell: tuple[int, ...]) -> np.random.Generator:
    """Return the generator of one cell of the grid `tag`."""
    return np.random.default_rng([seed, tag, *(c + 2**20 for c in cell)])


def cells_near(
    spans: tuple[tuple[int, int], ...], cell_px: tuple[float, ...], reach_px: float
) -> list[tuple[int, ...]]:
    """Return the cells from which an object can reach a block, in a fixed order."""
    ranges = [
        range(int((a - reach_px) // size), int((b + reach_px) // size) + 1)
        for (a, b), size in zip(spans, cell_px, strict=True)
    ]
    grid = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, len(ranges))
    return [tuple(cell) for cell in grid.tolist()]


def walk(
    rng: np.random.Generator,
    start: Float64,
    angle: float,
    n_steps: int,
    step_px: float,
    bend: float,
) -> Float64:
    """Return the (n_steps + 1, 2) points of a line that turns a little at every step."""
    angles = angle + np.cumsum(rng.normal(0, bend, n_steps))
    steps = step_px * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    return np.concatenate([start[None], start + np.cumsum(steps, axis=0)])


def segments_of(points: Float64, half_width_px: Float64) -> Float64:
    """Return (n, 6) rows of y0, x0, y1, x1 and the half width at both ends."""
    return np.column_stack([points[:-1], points[1:], half_width_px[:-1], half_width_px[1:]])


def stacked(parts: list[Float64], width: int) -> Float64:
    """Join rows of objects; no rows is a (0, width) array."""
    return np.concatenate([np.empty((0, width)), *parts])


@numba.njit(cache=True)
def draw_discs(distance: Float32, y0: int, x0: int, discs: Float64, reach: float) -> None:
    """Lower `distance` to the signed distance of discs (y, x, radius), up to `reach` outside."""
    n_y, n_x = distance.shape
    for k in range(discs.shape[0]):
        cy, cx, r = discs[k, 0], discs[k, 1], discs[k, 2]
        for y in range(max(0, int(cy - r - reach) - y0), min(n_y, int(cy + r + reach) + 2 - y0)):
            for x in range(
                max(0, int(cx - r - reach) - x0), min(n_x, int(cx + r + reach) + 2 - x0)
            ):
                dy, dx = y + y0 - cy, x + x0 - cx
                d = np.sqrt(dy * dy + dx * dx) - r
                if d < min(distance[y, x], reach):
                    distance[y, x] = d


@numba.njit(cache=True)
def draw_segments(distance: Float32, y0: int, x0: int, rows: Float64, reach: float) -> None:
    """Lower `distance` to the signed distance of tapered segments, up to `reach` outside."""
    n_y, n_x = distance.shape
    for k in range(rows.shape[0]):
        ay, ax, by, bx, wa, wb = rows[k]
        margin = reach + max(wa, wb)
        length = max((by - ay) ** 2 + (bx - ax) ** 2, 1e-9)
        for y in range(max(0, int(min(ay, by) - margin) - y0),
                       min(n_y, int(max(ay, by) + margin) + 2 - y0)):  # fmt: skip
            for x in range(max(0, int(min(ax, bx) - margin) - x0),
                           min(n_x, int(max(ax, bx) + margin) + 2 - x0)):  # fmt: skip
                py, px = y + y0 - ay, x + x0 - ax
                t = (py * (by - ay) + px * (bx - ax)) / length
                t = min(1.0, max(0.0, t))
                dy, dx = py - t * (by - ay), px - t * (bx - ax)
                d = np.sqrt(dy * dy + dx * dx) - (wa + t * (wb - wa))
                if d < min(distance[y, x], reach):
                    distance[y, x] = d
