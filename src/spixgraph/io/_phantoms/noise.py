"""Noise that is a function of the absolute position, so that any block of it can be computed.

No transcendental function is used: the pixels then do not depend on the maths library.
numba keeps the compiled callers of these functions and does not see when this file changes: after
an edit here, remove the folders `__pycache__` of this package.
"""

import numba
import numpy as np

from spixgraph.arrays import Float32

_K_SEED = np.uint64(0x9E3779B97F4A7C15)
_K_Z = np.uint64(0xD6E8FEB86659FD93)
_K_Y = np.uint64(0xC2B2AE3D27D4EB4F)
_K_X = np.uint64(0x165667B19E3779F9)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_S16, _S32, _S48 = np.uint64(16), np.uint64(32), np.uint64(48)
_LOW16 = np.uint64(0xFFFF)


@numba.njit(cache=True)
def hash3(seed: int, z: int, y: int, x: int) -> np.uint64:
    """Mix a seed and a position into 64 bits (finaliser of splitmix64)."""
    h = np.uint64(seed) * _K_SEED + np.uint64(z) * _K_Z + np.uint64(y) * _K_Y + np.uint64(x) * _K_X
    h = (h ^ (h >> _S30)) * _M1
    h = (h ^ (h >> _S27)) * _M2
    return h ^ (h >> _S31)


@numba.njit(cache=True)
def unit(h: np.uint64) -> float:
    """Turn the upper 16 bits into -1..1."""
    return np.float64(h >> _S48) / 32767.5 - 1.0


@numba.njit(cache=True)
def normal(h: np.uint64) -> float:
    """Turn 64 bits into a value of mean 0 and variance 1: the sum of four uniform numbers."""
    total = (h & _LOW16) + ((h >> _S16) & _LOW16) + ((h >> _S32) & _LOW16) + (h >> _S48)
    return (np.float64(total) - 131070.0) / 37837.2


@numba.njit(cache=True)
def smooth(t: float) -> float:
    """Rise from 0 at t <= 0 to 1 at t >= 1."""
    t = min(1.0, max(0.0, t))
    return t * t * (3.0 - 2.0 * t)


@numba.njit(cache=True)
def bump(t: float) -> float:
    """Be 1 at t = 0 and 0 beyond -1..1."""
    s = max(0.0, 1.0 - t * t)
    return s * s


@numba.njit(cache=True)
def add_noise(
    row: Float32, seed: int, y: int, x0: int, period_y: float, period_x: float, amplitude: float
) -> None:
    """Add smooth lattice noise of -amplitude..amplitude to pixels (y, x0), (y, x0 + 1), ..."""
    iy = np.int64(np.floor(y / period_y))
    v = smooth(y / period_y - iy)
    last = np.int64(-(2**62))
    left = right = 0.0
    for i in range(row.size):
        gx = (x0 + i) / period_x
        ix = np.int64(np.floor(gx))
        if ix != last:
            left = _between(seed, iy, ix, v)
            right = _between(seed, iy, ix + 1, v)
            last = ix
        row[i] += amplitude * (left + (right - left) * smooth(gx - ix))


@numba.njit(cache=True)
def _between(seed: int, iy: int, ix: int, v: float) -> float:
    """Interpolate two lattice points along y."""
    above = unit(hash3(seed, 0, iy, ix))
    return above + (unit(hash3(seed, 0, iy + 1, ix)) - above) * v


@numba.njit(cache=True)
def add_noise_3d(
    row: Float32, seed: int, z: int, y: int, x0: int, period_zyx: Float32, amplitude: float
) -> None:
    """As `add_noise`, in three dimensions."""
    iz = np.int64(np.floor(z / period_zyx[0]))
    iy = np.int64(np.floor(y / period_zyx[1]))
    u = smooth(z / period_zyx[0] - iz)
    v = smooth(y / period_zyx[1] - iy)
    last = np.int64(-(2**62))
    left = right = 0.0
    for i in range(row.size):
        gx = (x0 + i) / period_zyx[2]
        ix = np.int64(np.floor(gx))
        if ix != last:
            left = _plane(seed, iz, iy, ix, u, v)
            right = _plane(seed, iz, iy, ix + 1, u, v)
            last = ix
        row[i] += amplitude * (left + (right - left) * smooth(gx - ix))


@numba.njit(cache=True)
def _plane(seed: int, iz: int, iy: int, ix: int, u: float, v: float) -> float:
    """Interpolate four lattice points along z and y."""
    near = unit(hash3(seed, iz, iy, ix))
    near += (unit(hash3(seed, iz, iy + 1, ix)) - near) * v
    far = unit(hash3(seed, iz + 1, iy, ix))
    far += (unit(hash3(seed, iz + 1, iy + 1, ix)) - far) * v
    return near + (far - near) * u


@numba.njit(cache=True)
def grain(seed: int, y: float, x: float, period: float) -> tuple[float, float]:
    """Find the nearest of points scattered one per `period` squared (Worley noise).

    Returns its distance in periods and a value of -1..1 that belongs to it.
    """
    gy, gx = y / period, x / period
    iy, ix = np.int64(np.floor(gy)), np.int64(np.floor(gx))
    best, value = 9.0, 0.0
    for cy in range(iy - 1, iy + 2):
        for cx in range(ix - 1, ix + 2):
            h = hash3(seed, 1, cy, cx)
            dy = cy + np.float64(h & _LOW16) / 65536.0 - gy
            dx = cx + np.float64((h >> _S16) & _LOW16) / 65536.0 - gx
            d = dy * dy + dx * dx
            if d < best:
                best, value = d, unit(h)
    return np.sqrt(best), value


@numba.njit(cache=True)
def as_uint8(value: float, gain: float, h: np.uint64) -> np.uint8:
    """Add shot noise to an intensity of 0..1 and store it: variance is `gain` times intensity."""
    noisy = 255.0 * (value + np.sqrt(gain * max(value, 0.02)) * normal(h))
    return np.uint8(min(255.0, max(0.0, np.floor(noisy + 0.5))))
