"""How far slices lie apart where the file does not say: told by how much they differ.

Why: slices that hang together are one volume, others are images of their own, and superpixels and
features differ much between the two. The pixel size itself is never guessed.

Strategy: neighbouring slices differ as much as pixels of one slice that lie as far apart, if the
specimen looks alike along all axes. So the distance of two slices in pixels is the distance at
which a slice differs from itself as much as from the next one (a variogram).
"""

import math

import numpy as np

from spixgraph.arrays import Array, Float64, PixelSizeUm, ShapeZYX
from spixgraph.io.sample import MAX_SLICE_STEP, Slices
from spixgraph.io.source import ImageSource

_N_PLACES, _EDGE_PX = 16, 64
_LAGS = (1, 2, 3, 4)
_LEAST_RISE = 1.05
"""From the first lag to the last: pixels of pure noise differ alike at any distance."""
_STEP_Y, _STEP_X = 0.7548776662, 0.5698402910


def measured_spacing(source: ImageSource) -> PixelSizeUm | None:
    """Measure the spacing of a stack whose pixel size is unknown.

    Parameters
    ----------
    source : ImageSource
        Read in 16 boxes of two slices and 64 x 64 pixels.

    Returns
    -------
    (z, y, x) or None
        In pixels of the plane, z a whole number of 1 to 3; None where slices do not hang together,
        lie further apart, or there is one.

    Notes
    -----
    A difference in brightness of two slices is taken out. The channels are added up.
    """
    n_z, n_y, n_x, _ = source.info.shape_zyxc
    if n_z == 1 or min(n_y, n_x) <= _LAGS[-1]:
        return None
    between, within = 0.0, np.zeros(len(_LAGS))
    for box in _boxes((n_z, n_y, n_x)):
        pair = source.read(*box).astype(np.float64)
        between += float((pair[1] - pair[0]).var(axis=(0, 1)).sum())
        within += [_difference(pair, lag) for lag in _LAGS]
    within = np.maximum.accumulate(within)
    if within[-1] <= _LEAST_RISE * within[0]:
        return None
    step = round(float(np.interp(between, within, _LAGS)))
    return (float(step), 1.0, 1.0) if step <= MAX_SLICE_STEP else None


def _boxes(shape_zyx: ShapeZYX) -> list[Slices]:
    """Spread the boxes over the image; their places in the plane follow Roberts' R2 sequence."""
    n_z, n_y, n_x = shape_zyx
    boxes = []
    for i in range(_N_PLACES):
        z = i * (n_z - 1) // _N_PLACES
        y, x = (
            int(math.fmod(i * step, 1) * (max(0, n - _EDGE_PX) + 1))
            for step, n in ((_STEP_Y, n_y), (_STEP_X, n_x))
        )
        boxes.append((slice(z, z + 2), slice(y, y + _EDGE_PX), slice(x, x + _EDGE_PX)))
    return boxes


def _difference(pair: Float64 | Array, lag: int) -> float:
    """Mean square of the differences in y and x at a distance, added over channels."""
    along_y, along_x = pair[:, lag:] - pair[:, :-lag], pair[:, :, lag:] - pair[:, :, :-lag]
    return float(sum(np.square(d).mean(axis=(0, 1, 2)).sum() for d in (along_y, along_x)) / 2)
