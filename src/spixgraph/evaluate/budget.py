"""Where the wrong pixels of a graph model come from."""

from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import NOT_ANNOTATED, MaskZYX
from spixgraph.errors import InputError


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """Counts of annotated pixels; ``wrong == superpixels - won_back + classifier``.

    Attributes
    ----------
    annotated : int
    superpixels : int
        Wrong even with the best single class of each superpixel.
    won_back : int
        Of those, right in the prediction: by a pixel decoder, or because a superpixel got the
        class of its smaller part, which `classifier` then pays for.
    classifier : int
        Right with the best class of each superpixel, wrong in the prediction.
    """

    annotated: int
    superpixels: int
    won_back: int
    classifier: int

    @property
    def wrong(self) -> int:
        """Pixels that the prediction has wrong."""
        return self.superpixels - self.won_back + self.classifier

    def __add__(self, other: "ErrorBudget") -> "ErrorBudget":
        return ErrorBudget(
            self.annotated + other.annotated,
            self.superpixels + other.superpixels,
            self.won_back + other.won_back,
            self.classifier + other.classifier,
        )


def error_budget(truth: MaskZYX, best: MaskZYX, prediction: MaskZYX) -> ErrorBudget:
    """Compare a prediction with the best mask of one class per superpixel.

    Parameters
    ----------
    truth : (Z, Y, X) uint8
        Class ids; 255 counts nowhere.
    best : (Z, Y, X) uint8
        From `spixgraph.superpixels.quality.ceiling_mask`.
    prediction : (Z, Y, X) uint8

    Raises
    ------
    InputError
        If shapes differ.
    """
    if not truth.shape == best.shape == prediction.shape:
        raise InputError(
            f"masks must have one shape, got {truth.shape}, {best.shape} and {prediction.shape}"
        )
    known = truth != NOT_ANNOTATED
    bounded, right = known & (best != truth), known & (prediction == truth)
    return ErrorBudget(
        annotated=int(np.count_nonzero(known)),
        superpixels=int(np.count_nonzero(bounded)),
        won_back=int(np.count_nonzero(bounded & right)),
        classifier=int(np.count_nonzero(known & ~bounded & ~right)),
    )
