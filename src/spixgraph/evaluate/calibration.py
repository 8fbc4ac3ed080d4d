"""Whether a model is right as often as it believes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spixgraph.arrays import NOT_ANNOTATED, Array, Int64, MaskZYX
from spixgraph.errors import InputError

N_BINS = 15
_CERTAIN = 255
_BIN_WIDTH = _CERTAIN // N_BINS


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Counts of annotated pixels by the probability of their predicted class; ``a + b`` holds both.

    Attributes
    ----------
    n : (15,) int64
        Pixels whose probability is in (k / 15, (k + 1) / 15]; 0 is in the first bin.
    right : (15,) int64
        Those of the true class.
    believed : (15,) int64
        Sum of the probabilities, in 255ths.
    """

    n: Int64
    right: Int64
    believed: Int64

    def __add__(self, other: "Calibration") -> "Calibration":
        return Calibration(
            self.n + other.n, self.right + other.right, self.believed + other.believed
        )

    @property
    def ece(self) -> float | None:
        """Expected calibration error: mean over the pixels of |accuracy - confidence| of their bin.

        None where nothing is annotated. Naeini et al., AAAI 2015, doi:10.1609/aaai.v29i1.9602
        """
        gap = np.abs(self.right - self.believed / _CERTAIN)
        return float(gap.sum() / self.n.sum()) if self.n.sum() else None

    def counts(self) -> dict[str, list[int]]:
        """Give the counts as JSON values; `of_counts` reads them."""
        return {
            "n": self.n.tolist(), "right": self.right.tolist(), "believed": self.believed.tolist()
        }  # fmt: skip

    @classmethod
    def of_counts(cls, counts: Mapping[str, Sequence[int]]) -> "Calibration":
        """Read what `counts` gave."""
        return cls(*(np.array(counts[k], np.int64) for k in ("n", "right", "believed")))

    def summary(self) -> dict[str, Any]:
        """Give ``ece`` and, per bin, ``n``, ``accuracy`` and ``confidence`` (None if empty)."""
        rows = zip(self.n.tolist(), self.right.tolist(), self.believed.tolist(), strict=True)
        bins = [
            {
                "n": n,
                "accuracy": right / n if n else None,
                "confidence": believed / _CERTAIN / n if n else None,
            }
            for n, right, believed in rows
        ]
        return {"ece": self.ece, "bins": bins}


def calibration_counts(truth: MaskZYX, prediction: MaskZYX, confidence: Array) -> Calibration:
    """Count the annotated pixels of one image.

    Parameters
    ----------
    truth : (Z, Y, X) uint8
        Class ids; 255 counts nowhere.
    prediction : (Z, Y, X) uint8
    confidence : (Z, Y, X) uint8
        Probability of the predicted class, 255 is certain.

    Raises
    ------
    InputError
        If shapes differ.
    """
    if not truth.shape == prediction.shape == confidence.shape:
        raise InputError(
            f"masks and confidence must have one shape, got {truth.shape}, {prediction.shape} and "
            f"{confidence.shape}"
        )
    known = truth != NOT_ANNOTATED
    right = known & (truth == prediction)
    every, hits = (np.bincount(confidence[m], minlength=_CERTAIN + 1) for m in (known, right))
    values = np.arange(_CERTAIN + 1)
    starts = np.r_[0, np.arange(_BIN_WIDTH + 1, _CERTAIN + 1, _BIN_WIDTH)]
    return Calibration(
        *(np.add.reduceat(row.astype(np.int64), starts) for row in (every, hits, every * values))
    )
