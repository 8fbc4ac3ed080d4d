"""Confocal stack of touching nuclei: some dimmer than the membranes around them.

Depth takes light away, slices are thicker than pixels, and every nucleus has its own brightness.
"""

from functools import lru_cache

import numba
import numpy as np

from spixgraph.arrays import Float32, Float64, Int64, UInt8
from spixgraph.io._phantoms.noise import add_noise_3d, as_uint8, hash3, smooth
from spixgraph.io._phantoms.objects import FAR, cell_generator, cells_near, stacked
from spixgraph.io.source import Box

CLASS_NAMES = ("background", "nucleus")
PIXEL_SIZE_UM = (0.3, 0.13, 0.13)

_CELL_UM = 5.2
_REACH_UM = 5.0
_HAZE_UM = 1.6
_CELL_PX = (_CELL_UM / 0.3, _CELL_UM / 0.13, _CELL_UM / 0.13)


def draw(seed: int, box: Box) -> UInt8:
    """Return the (Z, Y, X) image of a block."""
    distance, bright = _distances(seed, box)
    return _render(distance, bright, seed, np.array([a for a, _ in box]), _look(seed))


def draw_mask(seed: int, box: Box) -> UInt8:
    """Return the (Z, Y, X) mask of a block."""
    return (_distances(seed, box)[0] < 0).astype(np.uint8)


def _look(seed: int) -> Float64:
    """Draw what differs from stack to stack: brightness, loss per um of depth, haze, noise."""
    return cell_generator(seed, 0, ()).uniform([0.85, 0.02, 0.12, 0.004], [1.1, 0.06, 0.24, 0.010])


def _distances(seed: int, box: Box) -> tuple[Float32, Float32]:
    """Return the signed distance to the nearest nucleus in um, and its brightness."""
    shape = tuple(b - a for a, b in box)
    distance, bright = np.full(shape, FAR, np.float32), np.zeros(shape, np.float32)
    cells = cells_near(box, _CELL_PX, _REACH_UM / 0.13)
    nuclei = stacked([_nucleus(seed, c) for c in cells], 11)
    _draw_nuclei(distance, bright, np.array([a for a, _ in box]), nuclei)
    return distance, bright


@lru_cache(maxsize=8192)
def _nucleus(seed: int, cell: tuple[int, int, int]) -> Float64:
    """Return (0 or 1, 11): centre in um, radius in um, brightness, six terms of the ellipsoid."""
    rng = cell_generator(seed, 1, cell)
    if rng.random() > 0.85:
        return np.empty((0, 11))
    centre = (np.asarray(cell) + rng.uniform(0.2, 0.8, 3)) * _CELL_UM
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    form = (turn * rng.uniform(0.75, 1.3, 3) ** 2) @ turn.T
    terms = form[np.triu_indices(3)]
    bright = 0.10 + 0.55 * rng.uniform(0, 1) ** 1.7
    return np.concatenate([centre, [rng.uniform(1.9, 2.9), bright], terms])[None]


@numba.njit(cache=True)
def _draw_nuclei(distance: Float32, bright: Float32, origin: Int64, nuclei: Float64) -> None:
    """Lower `distance` to each nucleus; the brightness is that of the nearest."""
    n_z, n_y, n_x = distance.shape
    for k in range(nuclei.shape[0]):
        cz, cy, cx, r, b, zz, zy, zx, yy, yx, xx = nuclei[k]
        far = r * 1.4 + _HAZE_UM * 1.4
        for z in range(max(0, int((cz - far) / 0.3) - origin[0]),
                       min(n_z, int((cz + far) / 0.3) + 2 - origin[0])):  # fmt: skip
            dz = (z + origin[0]) * 0.3 - cz
            for y in range(max(0, int((cy - far) / 0.13) - origin[1]),
                           min(n_y, int((cy + far) / 0.13) + 2 - origin[1])):  # fmt: skip
                dy = (y + origin[1]) * 0.13 - cy
                for x in range(max(0, int((cx - far) / 0.13) - origin[2]),
                               min(n_x, int((cx + far) / 0.13) + 2 - origin[2])):  # fmt: skip
                    dx = (x + origin[2]) * 0.13 - cx
                    q = zz * dz * dz + yy * dy * dy + xx * dx * dx
                    q += 2.0 * (zy * dz * dy + zx * dz * dx + yx * dy * dx)
                    d = np.sqrt(q) - r
                    if d < min(distance[z, y, x], _HAZE_UM):
                        distance[z, y, x] = d
                        bright[z, y, x] = b


@numba.njit(cache=True)
def _render(distance: Float32, bright: Float32, seed: int, origin: Int64, look: Float64) -> UInt8:
    """Compose the intensity of each voxel."""
    n_z, n_y, n_x = distance.shape
    gain_light, loss, haze, gain = look
    z0, y0, x0 = origin
    image = np.empty(distance.shape, np.uint8)
    chromatin = np.array([0.8 / 0.3, 0.8 / 0.13, 0.8 / 0.13], np.float32)
    sheet = np.array([6.0 / 0.3, 6.0 / 0.13, 6.0 / 0.13], np.float32)
    wide = np.array([25.0 / 0.3, 25.0 / 0.13, 25.0 / 0.13], np.float32)
    for i in range(n_z):
        for j in range(n_y):
            spots, wall, glow = np.zeros((3, n_x), np.float32)
            add_noise_3d(spots, seed + 21, z0 + i, y0 + j, x0, chromatin, 1.0)
            add_noise_3d(wall, seed + 22, z0 + i, y0 + j, x0, sheet, 1.0)
            add_noise_3d(glow, seed + 23, z0 + i, y0 + j, x0, wide, 0.5)
            light = gain_light / (1.0 + loss * 0.3 * (z0 + i))
            for k in range(n_x):
                d = distance[i, j, k]
                inside = smooth(0.5 - d / 0.5)
                near = smooth(1.0 - d / _HAZE_UM)
                value = 0.11 + 0.12 * glow[k]
                value += bright[i, j, k] * (inside * (0.85 + 0.4 * spots[k]) + haze * near)
                value += (1.0 - inside) * 0.42 * (0.7 + glow[k]) * smooth(1.0 - abs(wall[k]) / 0.09)
                h = hash3(seed + 24, z0 + i, y0 + j, x0 + k)
                image[i, j, k] = as_uint8(value * light, gain, h)
    return image
