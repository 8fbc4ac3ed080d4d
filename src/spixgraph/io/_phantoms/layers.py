"""Cross-section of a coated material: layers, some told apart by texture only, cracks and pores."""

from functools import lru_cache

import numba
import numpy as np

from spixgraph.arrays import Float32, Float64, UInt8
from spixgraph.io._phantoms.noise import add_noise, as_uint8, bump, grain, hash3, smooth, unit
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

CLASS_NAMES = ("substrate", "ceramic", "bond coat", "composite", "crack", "pore")
PIXEL_SIZE_UM = (0.2, 0.2, 0.2)

_THICKNESS_PX = 150.0
_CRACK, _PORE = 4, 5
_CRACK_CELL_PX, _CRACK_REACH_PX = 384.0, 220.0
_PORE_CELL_PX, _PORE_REACH_PX = 128.0, 18.0
_SCRATCH_CELL_PX, _SCRATCH_REACH_PX = 512.0, 320.0
_REACH = 5.0


def draw(seed: int, box: Box) -> UInt8:
    """Return the (1, Y, X) image of a block."""
    y0, x0 = box[1][0], box[2][0]
    cracks, pores = _distances(seed, box)
    scratches = np.full(cracks.shape, FAR, np.float32)
    cells = cells_near(box[1:], (_SCRATCH_CELL_PX,) * 2, _SCRATCH_REACH_PX)
    draw_segments(scratches, y0, x0, stacked([_scratch(seed, c) for c in cells], 6), 3.0)
    layer = _layers(seed, y0, x0, *cracks.shape)
    return _render(layer, cracks, pores, scratches, seed, y0, x0, _look(seed))[None]


def draw_mask(seed: int, box: Box) -> UInt8:
    """Return the (1, Y, X) mask of a block."""
    cracks, pores = _distances(seed, box)
    mask = _layers(seed, box[1][0], box[2][0], *cracks.shape)
    mask[pores < 0] = _PORE
    mask[cracks < 0] = _CRACK
    return mask[None]


def _look(seed: int) -> Float64:
    """Draw what differs from image to image: brightness, illumination, contrast, noise."""
    low, high = [0.40, 0.03, 0.8, 0.0008], [0.48, 0.08, 1.2, 0.0025]
    return cell_generator(seed, 0, ()).uniform(low, high)


def _distances(seed: int, box: Box) -> tuple[Float32, Float32]:
    """Return the signed distances (Y, X) to cracks and to pores."""
    _, (y0, y1), (x0, x1) = box
    cracks = np.full((y1 - y0, x1 - x0), FAR, np.float32)
    pores = cracks.copy()
    cells = cells_near(box[1:], (_CRACK_CELL_PX,) * 2, _CRACK_REACH_PX)
    draw_segments(cracks, y0, x0, stacked([_crack(seed, c) for c in cells], 6), _REACH)
    cells = cells_near(box[1:], (_PORE_CELL_PX,) * 2, _PORE_REACH_PX)
    draw_discs(pores, y0, x0, stacked([_pores(seed, c) for c in cells], 3), _REACH)
    return cracks, pores


@lru_cache(maxsize=512)
def _crack(seed: int, cell: tuple[int, int]) -> Float64:
    """Return the segments (n, 6) of one crack, some 150 px long and 2 px wide."""
    rng = cell_generator(seed, 1, cell)
    start = (np.asarray(cell) + rng.uniform(0, 1, 2)) * _CRACK_CELL_PX
    points = walk(rng, start, rng.uniform(0, 2 * np.pi), 14, rng.uniform(9, 14), 0.45)
    return segments_of(points, np.linspace(rng.uniform(1.0, 1.5), 0.7, len(points)))


@lru_cache(maxsize=2048)
def _pores(seed: int, cell: tuple[int, int]) -> Float64:
    """Return discs (n, 3)."""
    rng = cell_generator(seed, 2, cell)
    n = int(rng.poisson(2.0))
    centres = (np.asarray(cell) + rng.uniform(0, 1, (n, 2))) * _PORE_CELL_PX
    return np.column_stack([centres, 1.8 + 7.0 * rng.uniform(0, 1, n) ** 2.5])


@lru_cache(maxsize=512)
def _scratch(seed: int, cell: tuple[int, int]) -> Float64:
    """Return one straight scratch (1, 6): dark and thin as a crack, yet no class of its own."""
    rng = cell_generator(seed, 3, cell)
    start = (np.asarray(cell) + rng.uniform(0, 1, 2)) * _SCRATCH_CELL_PX
    points = walk(rng, start, rng.uniform(0, 2 * np.pi), 1, 300.0, 0.0)
    return segments_of(points, np.array([0.5, 0.5]))


@numba.njit(cache=True)
def _layers(seed: int, y0: int, x0: int, n_y: int, n_x: int) -> UInt8:
    """Return the layer 0..3 of each pixel: wavy borders, four layers over and over."""
    first = int(y0 / _THICKNESS_PX) - 2
    n_borders = int((y0 + n_y) / _THICKNESS_PX) + 3 - first
    borders = np.empty((n_borders, n_x), np.float32)
    for k in range(n_borders):
        level = (first + k + 0.3 * unit(hash3(seed + 31, 0, 0, first + k))) * _THICKNESS_PX
        borders[k, :] = level
        add_noise(borders[k], seed + 32, first + k, x0, 1.0, 170.0, 22.0)
        add_noise(borders[k], seed + 33, first + k, x0, 1.0, 23.0, 5.0)
    shift = np.int64(hash3(seed + 34, 0, 0, 0) % np.uint64(4))
    layer = np.empty((n_y, n_x), np.uint8)
    for j in range(n_x):
        k = 0
        for i in range(n_y):
            while k < n_borders and borders[k, j] <= y0 + i:
                k += 1
            layer[i, j] = (first + k + shift) % 4
    return layer


@numba.njit(cache=True)
def _render(
    layer: UInt8, cracks: Float32, pores: Float32, scratches: Float32,
    seed: int, y0: int, x0: int, look: Float64,
) -> UInt8:  # fmt: skip
    """Compose the intensity of each pixel."""
    n_y, n_x = layer.shape
    base, uneven, contrast, gain = look
    image = np.empty((n_y, n_x), np.uint8)
    for i in range(n_y):
        y = y0 + i
        light, columns, fine = np.zeros((3, n_x), np.float32)
        add_noise(light, seed + 35, y, x0, 800.0, 1100.0, uneven)
        add_noise(columns, seed + 36, y, x0, 55.0, 5.0, 0.13)
        add_noise(fine, seed + 37, y, x0, 2.7, 2.7, 0.06)
        for j in range(n_x):
            texture = _texture(seed, layer[i, j], y, x0 + j, columns[j], fine[j])
            value = base + light[j] + contrast * texture
            value -= 0.10 * bump(scratches[i, j] / 1.6)
            p = pores[i, j]
            value += 0.10 * bump((p - 1.5) / 2.5) * (p > 0)
            dark = max(smooth(0.5 - p / 1.6), 0.9 * smooth(0.6 - cracks[i, j] / 1.4))
            value += dark * (0.12 - value)
            image[i, j] = as_uint8(value, gain, hash3(seed + 38, 0, y, x0 + j))
    return image


@numba.njit(cache=True)
def _texture(seed: int, layer: int, y: int, x: int, columns: float, fine: float) -> float:
    """Return the deviation from the mean grey: 0 and 1 share one mean, 2 and 3 another."""
    if layer == 0:
        return 0.11 * grain(seed + 39, y, x, 19.0)[1] + 0.3 * fine
    if layer == 1:
        return columns + 0.5 * fine
    if layer == 2:
        return 0.17 + fine
    distance, value = grain(seed + 40, y, x, 13.0)
    return 0.255 - 0.30 * smooth((0.45 + 0.1 * value - distance) * 5.0) + 0.3 * fine
