"""Phase contrast of cell colonies: as bright as the background, of another texture.

Halos, thin processes, debris, uneven illumination and shot noise are those of a 10x phase
contrast image.
"""

from functools import lru_cache

import numba
import numpy as np

from spixgraph.arrays import Float32, Float64, UInt8
from spixgraph.io._phantoms.noise import add_noise, as_uint8, bump, grain, hash3, smooth
from spixgraph.io._phantoms.objects import (
    FAR,
    cell_generator,
    cells_near,
    draw_discs,
    draw_segments,
    segments_of,
    stacked,
    walk,
)
from spixgraph.io.source import Box

CLASS_NAMES = ("background", "colony")
PIXEL_SIZE_UM = (0.65, 0.65, 0.65)

_CELL_PX, _REACH_PX = 256.0, 280.0
_DEBRIS_CELL_PX, _DEBRIS_REACH_PX = 160.0, 16.0
_DISC_REACH, _LINE_REACH = 40.0, 7.0


def draw(seed: int, box: Box) -> UInt8:
    """Return the (1, Y, X) image of a block."""
    y0, x0 = box[1][0], box[2][0]
    bodies, lines = _distances(seed, box)
    debris = np.full(bodies.shape, FAR, np.float32)
    cells = cells_near(box[1:], (_DEBRIS_CELL_PX,) * 2, _DEBRIS_REACH_PX)
    draw_discs(debris, y0, x0, stacked([_debris(seed, c) for c in cells], 3), 6.0)
    return _render(bodies, lines, debris, seed, y0, x0, _look(seed))[None]


def draw_mask(seed: int, box: Box) -> UInt8:
    """Return the (1, Y, X) mask of a block."""
    bodies, lines = _distances(seed, box)
    return _classify(bodies, lines, seed, box[1][0], box[2][0])[None]


def _look(seed: int) -> Float64:
    """Draw what differs from image to image: brightness, illumination, texture, halo, noise."""
    rng = cell_generator(seed, 0, ())
    low = [0.42, 0.05, 0.8, 0.7, 0.0012]
    high = [0.55, 0.14, 1.2, 1.3, 0.0030]
    return rng.uniform(low, high)


def _distances(seed: int, box: Box) -> tuple[Float32, Float32]:
    """Return the signed distances (Y, X) to colony bodies and to processes."""
    _, (y0, y1), (x0, x1) = box
    bodies = np.full((y1 - y0, x1 - x0), FAR, np.float32)
    lines = bodies.copy()
    colonies = [_colony(seed, c) for c in cells_near(box[1:], (_CELL_PX,) * 2, _REACH_PX)]
    draw_discs(bodies, y0, x0, stacked([discs for discs, _ in colonies], 3), _DISC_REACH)
    draw_segments(lines, y0, x0, stacked([rows for _, rows in colonies], 6), _LINE_REACH)
    return bodies, lines


@lru_cache(maxsize=512)
def _colony(seed: int, cell: tuple[int, int]) -> tuple[Float64, Float64]:
    """Return the discs (n, 3) that make a colony and the segments (m, 6) of its processes."""
    rng = cell_generator(seed, 1, cell)
    if rng.random() > 0.9:
        return np.empty((0, 3)), np.empty((0, 6))
    centre = (np.asarray(cell) + rng.uniform(0.15, 0.85, 2)) * _CELL_PX
    n_discs = int(rng.integers(1, 9))
    offsets = np.clip(rng.normal(0, 42, (n_discs, 2)), -85, 85)
    discs = np.column_stack([centre + offsets, rng.uniform(20, 52, n_discs)])
    lines = []
    for _ in range(int(rng.integers(0, 5))):
        disc, angle = discs[rng.integers(n_discs)], rng.uniform(0, 2 * np.pi)
        start = disc[:2] + 0.8 * disc[2] * np.array([np.sin(angle), np.cos(angle)])
        points = walk(rng, start, angle, 8, rng.uniform(7, 14), 0.3)
        lines.append(segments_of(points, np.linspace(rng.uniform(1.6, 3.0), 0.8, len(points))))
    return discs, stacked(lines, 6)


@lru_cache(maxsize=2048)
def _debris(seed: int, cell: tuple[int, int]) -> Float64:
    """Return discs (n, 3) of dirt and floating cells, which are background."""
    rng = cell_generator(seed, 2, cell)
    n = int(rng.poisson(2.2))
    centres = (np.asarray(cell) + rng.uniform(0, 1, (n, 2))) * _DEBRIS_CELL_PX
    return np.column_stack([centres, 1.2 + 5.5 * rng.uniform(0, 1, n) ** 3])


@numba.njit(cache=True)
def _warp(seed: int, y: int, x0: int, n: int) -> Float32:
    """Return by how much outlines are moved along row y."""
    row = np.zeros(n, np.float32)
    add_noise(row, seed + 11, y, x0, 47.0, 47.0, 15.0)
    add_noise(row, seed + 12, y, x0, 13.0, 13.0, 5.0)
    return row


@numba.njit(cache=True)
def _classify(bodies: Float32, lines: Float32, seed: int, y0: int, x0: int) -> UInt8:
    """Colony is what is inside a warped body or a process."""
    mask = np.zeros(bodies.shape, np.uint8)
    for i in range(bodies.shape[0]):
        warp = _warp(seed, y0 + i, x0, bodies.shape[1])
        for j in range(bodies.shape[1]):
            mask[i, j] = bodies[i, j] + warp[j] < 0 or lines[i, j] < 0
    return mask


@numba.njit(cache=True)
def _render(
    bodies: Float32, lines: Float32, debris: Float32, seed: int, y0: int, x0: int, look: Float64
) -> UInt8:
    """Compose the intensity of each pixel from its distances and its position."""
    n_y, n_x = bodies.shape
    base, uneven, contrast, halo, gain = look
    image = np.empty((n_y, n_x), np.uint8)
    for i in range(n_y):
        y = y0 + i
        warp = _warp(seed, y, x0, n_x)
        light = np.zeros(n_x, np.float32)
        add_noise(light, seed + 13, y, x0, 900.0, 1300.0, uneven)
        add_noise(light, seed + 14, y, x0, 29.0, 29.0, 0.035)
        ragged = np.zeros(n_x, np.float32)
        add_noise(ragged, seed + 15, y, x0, 37.0, 37.0, 0.5)
        fine = np.zeros(n_x, np.float32)
        add_noise(fine, seed + 16, y, x0, 3.1, 3.1, 1.0)
        for j in range(n_x):
            s = bodies[i, j] + warp[j]
            t = lines[i, j]
            inside = smooth(0.5 - s / 3.0)
            value = base + light[j] + 0.02 * (1.0 - inside) * fine[j]
            if inside > 0.0:
                value += inside * contrast * _flesh(seed, y, x0 + j, fine[j])
            if s < 14.0:
                rim = 0.5 + ragged[j]
                value += halo * (0.22 * rim * bump((s - 3.5) / 6.0) - 0.12 * bump((s + 3.0) / 5.0))
            if t < 7.0:
                outside = 1.0 - inside
                value += outside * (0.10 * bump((t - 2.0) / 3.5) - 0.20 * smooth(0.5 - t / 2.0))
            d = debris[i, j]
            if d < 6.0:
                value += 0.30 * smooth(0.3 - d / 2.5) - 0.16 * bump((d - 2.0) / 3.5)
            image[i, j] = as_uint8(value, gain, hash3(seed + 17, 0, y, x0 + j))
    return image


@numba.njit(cache=True)
def _flesh(seed: int, y: int, x: int, fine: float) -> float:
    """Texture of packed cells: dark centres, bright seams, each cell a little different."""
    distance, value = grain(seed + 18, y, x, 11.0)
    return 0.34 * (distance - 0.42) + 0.07 * value + 0.05 * fine
