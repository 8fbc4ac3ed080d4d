"""How the columns of a graph follow the brightness and contrast of its image.

A change of exposure can be made, or taken out, on the columns alone, without the image: means of
intensities take brightness and contrast, everything that is made of differences takes contrast.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Bool, Float32
from spixgraph.graph.scaling import Scaling

_LEVEL = re.compile(r"c\d+_(intensity|smooth_\d+)(_mean)?|c\d+_decile_\d")
_SLOPE = re.compile(
    r"(c\d+_(intensity_std|contrast)"
    r"|(gradient|band|laplacian|deviation|hessian_(low|mid|high)|structure_(low|high))_\d(_mean|_std)?"
    r"|gradient_(mean|max))"
)


def responses(names: Sequence[str]) -> tuple[Bool, Bool]:
    """Tell how columns of nodes, edges or pixels follow the exposure.

    Returns
    -------
    level : (F,) bool
        Columns to which brightness is added.
    gain : (F,) bool
        Columns that contrast multiplies; all of `level` are among them.
    """
    level = np.array([bool(_LEVEL.fullmatch(name)) for name in names], bool)
    slope = np.array([bool(_SLOPE.fullmatch(name)) for name in names], bool)
    return level, level | slope


@dataclass(frozen=True, slots=True)
class Exposure:
    """Mean and spread of the intensity of an image, over its superpixels and channels.

    Every superpixel counts alike: they are large where the image is empty, so that the figures
    depend little on how much of it is.
    """

    mean: float = 0.0
    spread: float = 1.0

    def of_scaling(self, scaling: Scaling) -> Scaling:
        """Turn a scaling of columns at exposure (0, 1) into one of the raw columns of the image."""
        level, gain = responses(scaling.names)
        factor = np.where(gain, self.spread, 1.0)
        return Scaling(
            scaling.names, scaling.mean * factor + level * self.mean, scaling.scale * factor
        )

    def remove(self, values: Float32, names: Sequence[str]) -> Float32:
        """Bring raw columns (..., F) to exposure (0, 1); the argument is left as it is."""
        level, gain = responses(names)
        factor = np.where(gain, 1 / self.spread, 1.0)
        shift = np.where(level, -self.mean / self.spread, 0.0)
        return values * factor.astype(np.float32) + shift.astype(np.float32)
