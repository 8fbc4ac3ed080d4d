"""Parts of training images as another section or another day would have shown them."""

from dataclasses import dataclass, replace
from math import isqrt
from typing import Any, Self

import numpy as np
from scipy import ndimage

from spixgraph.arrays import Array, Float32, Float64, MaskZYX
from spixgraph.io.images import ArraySource
from spixgraph.io.masks import MaskBands
from spixgraph.io.source import ImageSource

MAX_PX, MAX_SLICES = 1 << 20, 64  # of a part
MAX_ZOOM = 1.4  # up or down, as stretch and gamma
MAX_STRETCH = 1.1
MAX_GAMMA = 1.5
MAX_BLUR_PX = 1.0
MAX_NOISE = 0.15  # standard deviations of a channel


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to a part of an image; the plane alone is turned and resized.

    Attributes
    ----------
    angle : float
        Radians.
    zoom : float
        How many times as large objects become.
    stretch : float
        Further factor of one axis of the turned plane, and one over it of the other.
    gamma : float
        Exponent between the least and the largest value of a channel.
    blur_px : float
        Standard deviation of a Gaussian; 0 for none.
    noise : float
        In standard deviations of a channel.
    seed : int
        Of the noise.
    """

    angle: float = 0.0
    zoom: float = 1.0
    stretch: float = 1.0
    gamma: float = 1.0
    blur_px: float = 0.0
    noise: float = 0.0
    seed: int = 0

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        """Draw one: any angle, and each kind of disturbance in some of the cases."""
        return cls(
            angle=rng.uniform(0, 2 * np.pi),
            zoom=MAX_ZOOM ** rng.uniform(-1, 1),
            stretch=MAX_STRETCH ** rng.uniform(-1, 1),
            gamma=MAX_GAMMA ** rng.uniform(-1, 1) if rng.random() < 0.5 else 1.0,
            blur_px=rng.uniform(0.3, MAX_BLUR_PX) if rng.random() < 0.3 else 0.0,
            noise=rng.uniform(0, MAX_NOISE) if rng.random() < 0.5 else 0.0,
            seed=int(rng.integers(2**31)),
        )


def changed_part(
    source: ImageSource, mask: MaskBands, change: Change, centre_zyx: Float64
) -> tuple[ArraySource, MaskZYX]:
    """Read a part of an image and its mask and change both.

    Parameters
    ----------
    source : ImageSource
        Of which the part alone is read.
    mask : MaskBands
    change : Change
    centre_zyx : (3,) float64
        Where the part lies, in pixels; it is moved inwards from the border.

    Returns
    -------
    part : ArraySource
        At most `MAX_PX` pixels and `MAX_SLICES` slices, all of a smaller image; of the dtype and
        the pixel size that the image states. Pixels come between pixels by linear interpolation;
        beyond the border the image is mirrored.
    mask : (Z, Y, X) uint8
        The class of the nearest pixel.
    """
    *shape, n_channels = source.info.shape_zyxc
    n_z = min(shape[0], MAX_SLICES)
    side = isqrt(MAX_PX // n_z)
    plane = [min(max(1, round(n * change.zoom)), side) for n in shape[1:]]
    first = round(_inside(centre_zyx[0], n_z, shape[0]) - (n_z - 1) / 2)
    slices = slice(first, first + n_z)

    step = _step(change)
    centre = np.array(
        [
            _inside(c, m / change.zoom, n)
            for c, m, n in zip(centre_zyx[1:], plane, shape[1:], strict=True)
        ]
    )
    start = centre - step @ ((np.array(plane) - 1) / 2)
    y, x = _rows_and_columns(start, step, plane, shape[1:])
    pixels = source.read(slices, y, x)
    offset = start - (y.start, x.start)

    def turned(values: Array, order: int) -> Array:
        found: Array = ndimage.affine_transform(
            values, step, offset, (plane[0], plane[1]), order=order, mode="mirror"
        )
        return found

    truth = mask[slices, y, x]
    seen = np.empty((n_z, *plane, n_channels), np.float32)
    for z, c in np.ndindex(n_z, n_channels):
        seen[z, ..., c] = turned(pixels[z, ..., c].astype(np.float32), 1)
    part = ArraySource(_stored(_disturbed(seen, change), source.info.dtype))
    part.info = replace(source.info, shape_zyxc=part.info.shape_zyxc)
    return part, np.stack([turned(plane_of_mask, 0) for plane_of_mask in truth])


def _inside(centre: float, length: float, n: int) -> float:
    """Move the centre of a stretch so that it lies inside of n pixels, in the middle if longer."""
    half = min(length, n) / 2
    return float(np.clip(centre, half - 0.5, n - half - 0.5))


def _step(change: Change) -> Float64:
    """Return (2, 2): how far one goes in the image (y, x) per pixel of the part."""
    sine, cosine = np.sin(change.angle), np.cos(change.angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    step: Float64 = turn @ np.diag([1 / change.stretch, change.stretch]) / change.zoom
    return step


def _rows_and_columns(
    start: Float64, step: Float64, plane: list[int], shape: list[int]
) -> tuple[slice, slice]:
    """Find the box of the image that holds the part, and the pixels beside it."""
    corners = [start + step @ (i, j) for i in (0, plane[0] - 1) for j in (0, plane[1] - 1)]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    y, x = (
        slice(max(0, int(a) - 1), min(n, int(b) + 3))
        for a, b, n in zip(low, high, shape, strict=True)
    )
    return y, x


def _disturbed(pixels: Float32, change: Change) -> Float32:
    """Bend, blur and disturb the values of each channel."""
    axes = (0, 1, 2)
    if change.gamma != 1:
        low = pixels.min(axes)
        span = np.maximum(pixels.max(axes) - low, np.finfo(np.float32).tiny)
        pixels = ((pixels - low) / span) ** np.float32(change.gamma) * span + low
    if change.blur_px:
        pixels = ndimage.gaussian_filter(pixels, (0, change.blur_px, change.blur_px, 0))
    if change.noise:
        noise = np.random.default_rng(change.seed).standard_normal(pixels.shape, np.float32)
        pixels = pixels + np.float32(change.noise) * pixels.std(axes) * noise
    return pixels


def _stored(pixels: Float32, dtype: Any) -> Array:
    """Go back to the dtype of the image, within its range."""
    if dtype.kind != "u":
        return pixels.astype(dtype)
    stored: Array = np.clip(np.rint(pixels), 0, np.iinfo(dtype).max).astype(dtype)
    return stored
