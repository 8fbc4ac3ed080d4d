"""How well predicted class borders lie on the true ones, within a tolerance."""

import math
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import NOT_ANNOTATED, Bool, MaskZYX
from spixgraph.errors import InputError
from spixgraph.evaluate.counts import require_pair

_STRIP_PX = 1024  # rows counted at a time: memory stays with a strip, not with the slide


@dataclass(frozen=True, slots=True)
class BoundaryCounts:
    """Border pixels and how many of them lie near a border of the other side; adds up by +.

    Attributes
    ----------
    tolerance_px : int
        Largest distance of a hit; counts of different tolerances don't add up.
    n_truth, n_truth_hit : int
        True border pixels, and those with a predicted border pixel within the tolerance.
    n_predicted, n_predicted_hit : int
        Predicted border pixels, and those with a true border pixel within the tolerance.
    """

    tolerance_px: int
    n_truth: int = 0
    n_truth_hit: int = 0
    n_predicted: int = 0
    n_predicted_hit: int = 0

    def __post_init__(self) -> None:
        if self.tolerance_px < 0:
            raise InputError(f"tolerance_px must be >= 0, got {self.tolerance_px}")
        if not (0 <= self.n_truth_hit <= self.n_truth):
            raise InputError(f"n_truth_hit {self.n_truth_hit} must be 0..n_truth {self.n_truth}")
        if not (0 <= self.n_predicted_hit <= self.n_predicted):
            raise InputError(
                f"n_predicted_hit {self.n_predicted_hit} must be 0..n_predicted {self.n_predicted}"
            )

    def __add__(self, other: "BoundaryCounts") -> "BoundaryCounts":
        if self.tolerance_px != other.tolerance_px:
            raise InputError(
                f"boundary counts within {self.tolerance_px} px and {other.tolerance_px} px "
                "don't add up; count both with one tolerance_px"
            )
        return BoundaryCounts(
            self.tolerance_px,
            self.n_truth + other.n_truth,
            self.n_truth_hit + other.n_truth_hit,
            self.n_predicted + other.n_predicted,
            self.n_predicted_hit + other.n_predicted_hit,
        )

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0..1.

        NaN where neither side has a border (nothing to judge: left out of means), 0 where only
        one side has.
        """
        if self.n_truth == 0 and self.n_predicted == 0:
            return math.nan
        if self.n_truth_hit == 0 or self.n_predicted_hit == 0:
            return 0.0
        precision = self.n_predicted_hit / self.n_predicted
        recall = self.n_truth_hit / self.n_truth
        return 2 * precision * recall / (precision + recall)


def boundary_counts(truth: MaskZYX, prediction: MaskZYX, *, tolerance_px: int) -> BoundaryCounts:
    """Count border pixels of both masks and those that meet the other side.

    A pixel is a border pixel if one of its four neighbours in the slice has another class; both
    sides of a border count, so mirrored masks give equal counts. Which two classes meet does not
    matter: that is what the region scores tell.

    Parameters
    ----------
    truth : (Z, Y, X) uint8
        Class ids; 255 is not annotated. Two neighbours make a border only where both are
        annotated, in the prediction too, so the rim of the annotated area is no border.
    prediction : (Z, Y, X) uint8
        Class ids; what it says where `truth` is 255 changes nothing.
    tolerance_px : int
        Largest Euclidean distance of a hit, in pixels of the slice, >= 0.

    Returns
    -------
    BoundaryCounts

    Raises
    ------
    InputError
        If the masks are not uint8 of one (Z, Y, X) shape, or the tolerance is negative.

    Notes
    -----
    Volumes are counted slice by slice: slices are often spaced wider than pixels, and so a
    tolerance in pixels keeps its meaning. Faces along z are seen where they cut other slices.

    References
    ----------
    Martin, Fowlkes, Malik, Learning to Detect Natural Image Boundaries, TPAMI 2004,
    doi:10.1109/TPAMI.2004.1273918 (precision and recall of borders);
    Csurka et al., What is a good evaluation measure for semantic segmentation?, BMVC 2013,
    doi:10.5244/C.27.32 (the tolerance). Unlike there, classes are not taken one by one.
    """
    require_pair(truth, prediction)
    total = BoundaryCounts(tolerance_px)
    for true_slice, predicted_slice in zip(truth, prediction, strict=True):
        for top in range(0, truth.shape[1], _STRIP_PX):
            # A hit looks tolerance_px rows away, and a border pixel one row further.
            low = max(0, top - tolerance_px - 1)
            read = slice(low, top + _STRIP_PX + tolerance_px + 1)
            core = slice(top - low, top - low + _STRIP_PX)
            total += _counts_of_strip(true_slice[read], predicted_slice[read], core, tolerance_px)
    return total


def _counts_of_strip(
    truth: MaskZYX, prediction: MaskZYX, core: slice, tolerance_px: int
) -> BoundaryCounts:
    """Count in the rows `core` of a (Y, X) strip."""
    known = truth != NOT_ANNOTATED
    true, predicted = _border(truth, known), _border(prediction, known)
    true_hit = (true & _grown(predicted, tolerance_px))[core]
    predicted_hit = (predicted & _grown(true, tolerance_px))[core]
    arrays = (true[core], true_hit, predicted[core], predicted_hit)
    return BoundaryCounts(tolerance_px, *(int(np.count_nonzero(a)) for a in arrays))


def _border(mask: MaskZYX, known: Bool) -> Bool:
    """Mark both pixels of each pair of known neighbours that differ."""
    border = np.zeros(mask.shape, np.bool_)
    for axis in (0, 1):
        ids, sure, marked = (np.moveaxis(a, axis, 0) for a in (mask, known, border))
        differs = (ids[:-1] != ids[1:]) & sure[:-1] & sure[1:]
        marked[:-1] |= differs
        marked[1:] |= differs
    return border


def _grown(border: Bool, radius_px: int) -> Bool:
    """Dilate by a disc, exactly.

    Strategy: a disc is a stack of horizontal runs.
    - From its top row to its middle the runs only get longer, so one row-wise dilation is
      widened step by step;
    - each row of the disc adds the dilation of its width, moved up and down.
    That is 4 r + 1 moves of a boolean array instead of r², and no distance transform.
    """
    grown = np.zeros_like(border)
    wide = border.copy()
    width = 0
    for dy in range(radius_px, -1, -1):
        while width < math.isqrt(radius_px**2 - dy**2):
            width += 1
            _or_moved(wide.T, border.T, width)
        _or_moved(grown, wide, dy)
    return grown


def _or_moved(out: Bool, border: Bool, rows: int) -> None:
    """Mark in `out` what `border` marks `rows` rows above and below."""
    if rows == 0:
        out |= border
    elif rows < len(out):
        out[rows:] |= border[:-rows]
        out[:-rows] |= border[rows:]
