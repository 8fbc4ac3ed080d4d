"""Confusion counts and the scores that follow from them.

Counts first, ratios last: counts of tiles and images add up exactly, ratios don't.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import NOT_ANNOTATED, Array, Float64, Int64, MaskZYX
from spixgraph.errors import InputError

_CHUNK_PX = 1 << 22  # bincount widens to 8 bytes per pixel; a chunk bounds that at 32 MiB


@dataclass(frozen=True, slots=True)
class Scores:
    """Ratios of one confusion matrix, all 0..1.

    Attributes
    ----------
    accuracy : float
        Share of annotated pixels with the right class; NaN where nothing is annotated.
    macro_iou, macro_f1 : float
        Plain mean over the classes that occur, background included; NaN where none does.
    iou_per_class, f1_per_class : tuple of float
        NaN for a class that is neither in the truth nor in the prediction.
    """

    accuracy: float
    macro_iou: float
    macro_f1: float
    iou_per_class: tuple[float, ...]
    f1_per_class: tuple[float, ...]


def confusion(truth: MaskZYX, prediction: MaskZYX, *, n_classes: int) -> Int64:
    """Count the annotated pixels of each pair (true class, predicted class).

    Parameters
    ----------
    truth : (Z, Y, X) uint8
        Class ids 0..n_classes-1; 255 is not annotated and counts nowhere.
    prediction : (Z, Y, X) uint8
        Class ids 0..n_classes-1, everywhere.
    n_classes : int
        1..255.

    Returns
    -------
    counts : (n_classes, n_classes) int64
        Rows are the truth, columns the prediction. Counts of parts add up to those of the whole.

    Raises
    ------
    InputError
        If shapes or dtypes differ from the above, or an id is outside its range.
    """
    require_pair(truth, prediction)
    if not 1 <= n_classes <= NOT_ANNOTATED:
        raise InputError(f"n_classes must be 1..{NOT_ANNOTATED}, got {n_classes}")
    counts = _byte_pairs(truth.reshape(-1), prediction.reshape(-1))
    _require_ids("truth", counts[:NOT_ANNOTATED].sum(axis=1), n_classes)
    _require_ids("prediction", counts.sum(axis=0), n_classes)
    return counts[:n_classes, :n_classes].copy()


def scores(confusion: Int64) -> Scores:
    """Turn (K, K) counts, rows truth, into ratios.

    Raises
    ------
    InputError
        If `confusion` is not a square matrix of integers >= 0.
    """
    require_confusion(confusion)
    hits = np.diagonal(confusion)
    marked = confusion.sum(axis=0) + confusion.sum(axis=1)  # truth + prediction
    iou = _ratio(hits, marked - hits)
    f1 = _ratio(2 * hits, marked)
    accuracy = _ratio(hits.sum(keepdims=True), confusion.sum(keepdims=True).reshape(-1))
    return Scores(
        accuracy=float(accuracy[0]),
        macro_iou=mean_of_known(iou.tolist()),
        macro_f1=mean_of_known(f1.tolist()),
        iou_per_class=tuple(iou.tolist()),
        f1_per_class=tuple(f1.tolist()),
    )


def mean_of_known(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN, the same in any order; NaN where there is none."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def require_pair(truth: Array, prediction: Array) -> None:
    """Raise `InputError` unless both are (Z, Y, X) uint8 masks of one shape."""
    for name, mask in (("truth", truth), ("prediction", prediction)):
        if mask.ndim != 3 or mask.dtype != np.uint8:
            raise InputError(
                f"{name} must be (Z, Y, X) uint8, got shape {mask.shape} {mask.dtype}; "
                "io.masks.read_mask returns that form"
            )
    if truth.shape != prediction.shape:
        raise InputError(
            f"truth has shape {truth.shape} but prediction {prediction.shape}; "
            "they must be masks of the same image"
        )


def require_confusion(counts: Array) -> None:
    """Raise `InputError` unless `counts` is a square matrix of integers >= 0."""
    square = counts.ndim == 2 and counts.shape[0] == counts.shape[1] and counts.size > 0
    if not square or not np.issubdtype(counts.dtype, np.integer) or counts.min() < 0:
        raise InputError(
            f"confusion must be (K, K) integers >= 0, got shape {counts.shape} {counts.dtype}; "
            "evaluate.counts.confusion returns that form"
        )


def _byte_pairs(truth: Array, prediction: Array) -> Int64:
    """Count all (truth, prediction) pairs of byte values: (256, 256), judged by the caller."""
    pairs = np.zeros(256 * 256, np.int64)
    for start in range(0, truth.size, _CHUNK_PX):
        chunk = slice(start, start + _CHUNK_PX)
        code = (truth[chunk].astype(np.uint16) << 8) | prediction[chunk]
        pairs += np.bincount(code, minlength=pairs.size)
    return pairs.reshape(256, 256)


def _require_ids(name: str, pixels_of_id: Int64, n_classes: int) -> None:
    """Raise `InputError` where an id >= n_classes has pixels."""
    foreign = [i for i in np.flatnonzero(pixels_of_id).tolist() if i >= n_classes]
    if foreign:
        allowed = f"0..{n_classes - 1}" + (" or 255, not annotated" if name == "truth" else "")
        raise InputError(
            f"{name} holds class ids {foreign}, allowed are {allowed}; "
            "check the class names of the data set and of the model"
        )


def _ratio(part: Int64, whole: Int64) -> Float64:
    """Divide elementwise; NaN where `whole` is 0."""
    empty = np.full(whole.shape, np.nan)
    return np.divide(part, whole, out=empty, where=whole > 0)
