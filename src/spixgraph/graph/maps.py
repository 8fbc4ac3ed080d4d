"""Maps of intensity, edges and texture at several scales, made one at a time.

Scale k looks over ``0.8 * 2**k`` pixels. Scales from 2 on are computed on halved images and stay
that small: `pooling.add_moments` interpolates them. So each further scale costs a quarter of the
one before, and no wide filter is ever run. Derivatives are multiplied by the width of their scale,
so that scales compare.
"""

from collections.abc import Iterator

import numpy as np

from spixgraph.arrays import Float32, ImageZYXC
from spixgraph.graph.filters import Scale, eigenvalues, halve

FINEST_PX = 0.8
TENSOR_SCALES = (1, 2, 3)
_TEXTURE_WINDOW = 1.5
_MIDDLE = np.float32(0.5)


def boundary_gradient(image: ImageZYXC, z_step: float | None) -> Float32:
    """Gradient magnitude at the finest scale, root mean square over channels.

    Parameters
    ----------
    image : (Z, Y, X, C) float32
    z_step : float or None
        Of `filters.slice_step`.

    Returns
    -------
    (Z, Y, X) float32
        In units of `image` per 0.8 pixels.
    """
    scale = Scale(FINEST_PX, z_step)
    squared = np.zeros(image.shape[:3], np.float32)
    for channel in np.moveaxis(image, -1, 0):
        smooth = scale.smooth(channel)
        for axis in range(3):
            squared += np.square(scale.first(smooth, axis))
    squared /= np.float32(image.shape[-1])
    return np.sqrt(squared, out=squared)


def feature_maps(
    image: ImageZYXC, *, n_scales: int, z_step: float | None
) -> Iterator[tuple[str, Float32]]:
    """Make the maps whose mean and deviation describe a superpixel.

    Intensity and smoothed intensity are per channel, the rest is of the mean of the channels; the
    structure tensor is averaged over channels (Di Zenzo).

    Parameters
    ----------
    image : (Z, Y, X, C) float32
    n_scales : int
        Octaves, >= 1.
    z_step : float or None
        Of `filters.slice_step`.

    Yields
    ------
    name : str
        ``c0_intensity`` ..., then for each scale k ``c0_smooth_k`` ... (k >= 1), ``gradient_k``,
        ``laplacian_k``, ``deviation_k``, and for k = 1, 2, 3 ``hessian_low_k``,
        ``hessian_high_k``, ``structure_low_k``, ``structure_high_k``.
    values : (Z', Y', X') float32
        As large as the image, or halved some times.

    References
    ----------
    Di Zenzo, A note on the gradient of a multi-image, CVGIP 1986,
    doi:10.1016/0734-189X(86)90223-9
    """
    channels = [np.ascontiguousarray(c) for c in np.moveaxis(image, -1, 0)]
    for i, channel in enumerate(channels):
        yield f"c{i}_intensity", channel
    squares = np.square(_grey(channels) - _MIDDLE)
    tensor: list[Float32] = []
    done = (0, 0, 0)
    for k in range(n_scales):
        scale = Scale(FINEST_PX * 2**k, z_step)
        times, done = _minus(scale.halvings(), done), scale.halvings()
        channels = [halve(c, times) for c in channels]
        squares = halve(squares, times)
        tensor = [halve(t, times) for t in tensor]
        if k:
            for i, channel in enumerate(channels):
                yield f"c{i}_smooth_{k}", scale.smooth(channel)
        yield from _edges(_grey(channels), k, scale)
        yield f"deviation_{k}", _deviation(_grey(channels), squares, scale)
        if k in TENSOR_SCALES:
            tensor = tensor or _tensor(channels, Scale(FINEST_PX, z_step))
            low, high = eigenvalues(*(scale.smooth(t) for t in tensor))
            yield f"structure_low_{k}", np.sqrt(np.maximum(low, 0))
            yield f"structure_high_{k}", np.sqrt(np.maximum(high, 0))


def _grey(channels: list[Float32]) -> Float32:
    """Mean of the channels."""
    if len(channels) == 1:
        return channels[0]
    return sum(channels[1:], channels[0]) / np.float32(len(channels))


def _minus(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    """Subtract axis by axis."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _edges(grey: Float32, k: int, scale: Scale) -> Iterator[tuple[str, Float32]]:
    """Gradient, Laplacian and, at the middle scales, the eigenvalues of the in-plane Hessian."""
    smooth = scale.smooth(grey)
    yield f"gradient_{k}", _gradient_magnitude(smooth, scale)
    zz, yy, xx = (scale.second(smooth, axis) for axis in range(3))
    yield f"laplacian_{k}", yy + xx + zz
    if k in TENSOR_SCALES:
        yx = scale.first(scale.first(smooth, 1), 2)
        low, high = eigenvalues(yy, yx, xx)
        yield f"hessian_low_{k}", low
        yield f"hessian_high_{k}", high


def _gradient_magnitude(smooth: Float32, scale: Scale) -> Float32:
    """Length of the gradient of a smoothed image."""
    gz, gy, gx = (scale.first(smooth, axis) for axis in range(3))
    return np.sqrt(gy * gy + gx * gx + gz * gz)


def _tensor(channels: list[Float32], finest: Scale) -> list[Float32]:
    """Products yy, yx, xx of the in-plane derivatives, averaged over channels."""
    products = [np.zeros_like(channels[0]) for _ in range(3)]
    for channel in channels:
        smooth = finest.smooth(channel)
        gy, gx = finest.first(smooth, 1), finest.first(smooth, 2)
        for product, (a, b) in zip(products, ((gy, gy), (gy, gx), (gx, gx)), strict=True):
            product += a * b
    return [product / np.float32(len(channels)) for product in products]


def _deviation(grey: Float32, squares: Float32, scale: Scale) -> Float32:
    """Local standard deviation, of the fine pixels, in a Gaussian window."""
    mean = scale.smooth(grey, times=_TEXTURE_WINDOW) - _MIDDLE
    variance = scale.smooth(squares, times=_TEXTURE_WINDOW) - mean * mean
    return np.sqrt(np.maximum(variance, 0))
