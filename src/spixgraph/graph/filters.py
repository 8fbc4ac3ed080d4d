"""Smoothing and derivatives of one scale, on an image that may be halved some times.

In a volume, z is smoothed and derived like y and x where the slices lie close enough, in units of
the in-plane pixel; else every slice is filtered on its own.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import correlate1d, gaussian_filter1d

from spixgraph.arrays import Float32, PixelSizeUm

MAX_SLICE_STEP = 3.0
_FINEST_HALVED = 1.6


def slice_step(n_slices: int, pixel_size_um: PixelSizeUm | None) -> float | None:
    """Distance of two slices in units of the in-plane pixel; None if slices stand on their own.

    They do in a 2D image, where the pixel size is unknown, and where the step is over 3.
    """
    if n_slices == 1 or pixel_size_um is None:
        return None
    z, y, x = pixel_size_um
    step = z / (y * x) ** 0.5
    return step if step <= MAX_SLICE_STEP else None


@dataclass(frozen=True, slots=True)
class Scale:
    """Filters of one width.

    Attributes
    ----------
    width_px : float
        Standard deviation of the Gaussian in in-plane pixels of the whole image.
    z_step : float or None
        Of `slice_step`.
    """

    width_px: float
    z_step: float | None

    def widths(self) -> tuple[float, float, float]:
        """Width along z, y, x in pixels of each axis; 0 where slices stand on their own."""
        width_z = 0.0 if self.z_step is None else self.width_px / self.z_step
        return width_z, self.width_px, self.width_px

    def halvings(self) -> tuple[int, int, int]:
        """How often each axis may be halved so that the width stays 1.6 coarse pixels or more."""
        z, y, x = (
            max(0, int(np.log2(max(w, 1e-9) / _FINEST_HALVED + 1e-6))) for w in self.widths()
        )
        return z, y, x

    def smooth(self, values: Float32, *, times: float = 1.0) -> Float32:
        """Smooth an image of this scale by a Gaussian of `times` the width.

        The blur of the halving before and of the linear interpolation after is left out of it.
        """
        for axis, (width, halvings) in enumerate(zip(self.widths(), self.halvings(), strict=True)):
            step = 2.0**halvings
            blurred = (step**2 - 1) / 12 + (step**2 / 6 if halvings else 0)
            if width:
                sigma = np.sqrt(((times * width) ** 2 - blurred) / step**2)
                values = gaussian_filter1d(values, sigma, axis, truncate=3.5)
        return values

    def first(self, values: Float32, axis: int) -> Float32:
        """First derivative of a smoothed image, times the width."""
        return self._derive(values, axis, [-0.5, 0, 0.5], order=1)

    def second(self, values: Float32, axis: int) -> Float32:
        """Second derivative of a smoothed image, times the width squared."""
        return self._derive(values, axis, [1, -2, 1], order=2)

    def _derive(self, values: Float32, axis: int, weights: list[float], order: int) -> Float32:
        """Finite difference; a 0 to broadcast along z where slices stand on their own."""
        width = self.widths()[axis]
        if width == 0:
            return np.zeros((1, 1, 1), np.float32)
        factor = (width / 2 ** self.halvings()[axis]) ** order
        return correlate1d(values, np.array(weights) * factor, axis, mode="nearest")


def halve(values: Float32, times: tuple[int, int, int]) -> Float32:
    """Average 2**t neighbours along each axis; an odd end is repeated."""
    for axis, n in enumerate(times):
        for _ in range(n):
            values = _halve_axis(values, axis)
    return values


def _halve_axis(values: Float32, axis: int) -> Float32:
    """Average pairs along one axis."""
    lines = np.moveaxis(values, axis, 0)
    out = lines[::2].copy()
    out[: len(lines) // 2] += lines[1::2]
    out[: len(lines) // 2] *= np.float32(0.5)
    return np.ascontiguousarray(np.moveaxis(out, 0, axis))


def eigenvalues(yy: Float32, yx: Float32, xx: Float32) -> tuple[Float32, Float32]:
    """Lower and upper eigenvalue of symmetric 2x2 matrices."""
    middle = (yy + xx) * np.float32(0.5)
    half = np.hypot((yy - xx) * np.float32(0.5), yx)
    return middle - half, middle + half
