"""Another view of an image, made from the columns of its graph: turned, mirrored, dimmed.

Node features don't know directions, but for their deciles and means nothing in a graph has to be
measured again: a mirrored or turned image has the same superpixels, whose offsets change sign or
axis, and exposure acts on columns as `spixgraph.graph.exposure` says.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Float32, Float64, Int64
from spixgraph.graph.exposure import responses
from spixgraph.graph.scaling import Scaling

MAX_GAIN = 1.35
MAX_BRIGHTNESS = 0.3
"""In units of the spread of intensities of the image."""
_DIRECTED = re.compile(r"(?:offset|place)_([zyx]{1,2})")


@dataclass(frozen=True, slots=True, eq=False)
class ColumnMap:
    """``values[..., order] * factor + shift``, column by column.

    Attributes
    ----------
    order : (F,) int64
    factor, shift : (F,) float32
    """

    order: Int64
    factor: Float32
    shift: Float32

    def apply(self, values: Float32) -> Float32:
        """Map (..., F) float32; the argument is left as it is."""
        out: Float32 = values[..., self.order] * self.factor + self.shift
        return out


@dataclass(frozen=True, slots=True)
class View:
    """One view.

    Attributes
    ----------
    sign_zyx : three float
        -1 where an axis is mirrored.
    swap_yx : bool
        True where y and x change places, after the mirror.
    gain, brightness : float
        Intensities become ``gain * value + brightness``.
    """

    sign_zyx: tuple[float, float, float]
    swap_yx: bool
    gain: float
    brightness: float

    def on(self, scaling: Scaling) -> ColumnMap:
        """Say what the view does to columns that `scaling` has standardised, but for its clip."""
        names = scaling.names
        level, gain = responses(names)
        order, sign = _turned(names, self)
        factor = sign * np.where(gain, self.gain, 1.0)
        shift = factor * scaling.mean[order] + np.where(level, self.brightness, 0.0) - scaling.mean
        return ColumnMap(
            order,
            (factor * scaling.scale[order] / scaling.scale).astype(np.float32),
            (shift / scaling.scale).astype(np.float32),
        )


def draw_view(rng: np.random.Generator) -> View:
    """Draw one of the eight turns of the plane, a mirror in z, and an exposure."""
    z, y, x = (float(s) for s in rng.choice([-1.0, 1.0], 3))
    return View(
        sign_zyx=(z, y, x),
        swap_yx=bool(rng.random() < 0.5),
        gain=float(MAX_GAIN ** rng.uniform(-1, 1)),
        brightness=float(rng.uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS)),
    )


def _turned(names: Sequence[str], view: View) -> tuple[Int64, Float64]:
    """Tell from which column each comes, and with which sign."""
    order, sign = np.arange(len(names)), np.ones(len(names))
    signs = dict(zip("zyx", view.sign_zyx, strict=True))
    number = {name: i for i, name in enumerate(names)}
    for i, name in enumerate(names):
        directed = _DIRECTED.fullmatch(name)
        if directed is None:
            continue
        axes = directed[1]
        if view.swap_yx:
            axes = axes.translate(str.maketrans("yx", "xy"))
        prefix = name[: directed.start(1)]
        order[i] = number.get(prefix + axes, number.get(prefix + axes[::-1], i))
        sign[i] = np.prod([signs[axis] for axis in axes])
    return order, sign
