"""Standardising of feature columns, learned on the training graphs and kept in the model card."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Float32, Float64
from spixgraph.errors import InputError

CLIP = 6.0
_SMALLEST_SPREAD = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Column-wise ``clip((value - mean) / scale, -6, 6)``.

    Attributes
    ----------
    names : tuple of str
        Column names, length F.
    mean : (F,) float64
    scale : (F,) float64
        Standard deviation, > 0; 1 for a column that does not vary.
    """

    names: tuple[str, ...]
    mean: Float64
    scale: Float64

    def __post_init__(self) -> None:
        shape = (len(self.names),)
        if self.mean.shape != shape or self.scale.shape != shape:
            raise InputError(
                f"mean and scale must be {shape}, got {self.mean.shape} and {self.scale.shape}"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.scale).all()):
            raise InputError("mean and scale must be finite")
        if not (self.scale > 0).all():
            raise InputError(f"scale must be > 0, got {self.scale.min()}")

    @classmethod
    def identity(cls, names: Sequence[str]) -> "Scaling":
        """Leave values as they are, but for the clip at 6; for edge weights that carry meaning."""
        return cls(tuple(names), np.zeros(len(names)), np.ones(len(names)))

    def apply(self, values: Float32) -> Float32:
        """Standardise (rows, F) float32; the argument is left as it is.

        Raises
        ------
        InputError
            If the number of columns differs.
        """
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise InputError(f"values must be (rows, {len(self.names)}), got {values.shape}")
        out = values - self.mean.astype(np.float32)
        out /= self.scale.astype(np.float32)
        return np.clip(out, -CLIP, CLIP, out=out)


def fit_scaling(arrays: Iterable[Float32], names: Sequence[str]) -> Scaling:
    """Learn mean and standard deviation of each column over all rows of all arrays.

    Parameters
    ----------
    arrays : iterable of (rows, F) float32
        Walked twice, so that tables may be read anew each time. Rows may be 0; with no row
        at all the scaling is the identity.
    names : sequence of str
        Column names, length F.

    Returns
    -------
    Scaling
        A column that varies by less than a millionth of its size gets scale 1.

    Raises
    ------
    InputError
        If an array has another number of columns than `names`.
    """
    n_rows, total = 0, np.zeros(len(names))
    for array in arrays:
        if array.ndim != 2 or array.shape[1] != len(names):
            raise InputError(f"arrays must be (rows, {len(names)}), got {array.shape}")
        n_rows += len(array)
        total += array.sum(0, dtype=np.float64)
    if n_rows == 0:
        return Scaling.identity(names)
    mean = total / n_rows
    spread = np.zeros(len(names))
    for array in arrays:
        spread += np.square(array - mean).sum(0)
    scale = np.sqrt(spread / n_rows)
    varies = scale > _SMALLEST_SPREAD * np.maximum(1.0, np.abs(mean))
    return Scaling(tuple(names), mean, np.where(varies, scale, 1.0))
