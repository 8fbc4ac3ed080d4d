"""Eigenvalues of symmetric 3 x 3 matrices, without branches and angles: many are done at once."""

import numpy as np

from spixgraph.superpixels.basins.jit import kernel

_HALF, _ZERO, _ONE, _TWO, _THREE = (np.float32(v) for v in (0.5, 0, 1, 2, 3))
_COSINE = tuple(
    np.float32(v)
    for v in (
        0.50000006, 0.57734592, -0.11103029, 0.05281457, -0.0301992, 0.01603714, -0.00610655,
        0.00113839,
    )
)  # fmt: skip
"""cos(2/3 arccos t) on 0..1 by powers of t, to 6e-8."""


@kernel
def eigenvalues(
    zz: float, zy: float, zx: float, yy: float, yx: float, xx: float
) -> tuple[float, float, float]:
    """Eigenvalues of one matrix, rising; all float32 or all float64.

    Off by 1e-7 of the largest; in float32 by 2e-6, and by 4e-4 where two are all but equal.

    Smith, Eigenvalues of a symmetric 3 x 3 matrix, CACM 1961, doi:10.1145/355578.366316.
    """
    mean = (zz + yy + xx) / _THREE
    a, b, c = zz - mean, yy - mean, xx - mean
    square = a * a + b * b + c * c + _TWO * (zy * zy + zx * zx + yx * yx)
    spread = np.sqrt(square / (_TWO * _THREE))
    unit = _ONE / spread if spread > _ZERO else spread
    a, b, c, zy, zx, yx = a * unit, b * unit, c * unit, zy * unit, zx * unit, yx * unit
    cosine = (a * (b * c - yx * yx) - zy * (zy * c - yx * zx) + zx * (zy * yx - b * zx)) * _HALF
    low = mean - _TWO * spread * _third(-cosine)
    high = mean + _TWO * spread * _third(cosine)
    return low, _THREE * mean - low - high, high


@kernel
def _third(cosine: float) -> float:
    """Turn the cosine of an angle, in -1..1 but for rounding, into that of a third of it."""
    t = np.sqrt(max(min((_ONE + cosine) * _HALF, _ONE), _ZERO))
    c0, c1, c2, c3, c4, c5, c6, c7 = _COSINE
    return c0 + t * (c1 + t * (c2 + t * (c3 + t * (c4 + t * (c5 + t * (c6 + t * c7))))))
