"""How well superpixels can follow a mask, whatever labels them afterwards.

All functions take a (Z, Y, X) int32 label image with ids >= 0 and a (Z, Y, X) uint8 mask of class
ids. Pixels of value 255 are not annotated and count nowhere.
"""

import numpy as np
from scipy.ndimage import maximum_filter

from spixgraph.arrays import NOT_ANNOTATED, Bool, Int64, LabelsZYX, MaskZYX, require_labels
from spixgraph.errors import InputError

_PIXELS_AT_ONCE = 1 << 20


def class_counts(labels: LabelsZYX, mask: MaskZYX, n_regions: int, n_classes: int) -> Int64:
    """Count the annotated pixels of each class in each superpixel.

    Parameters
    ----------
    labels : (Z, Y, X) int32
        Ids 0..n_regions-1.
    mask : (Z, Y, X) uint8
        Class ids 0..n_classes-1, or 255.
    n_regions, n_classes : int

    Returns
    -------
    counts : (n_regions, n_classes) int64

    Raises
    ------
    InputError
        If shapes differ, or an id is out of range.
    """
    require_labels(labels)
    if mask.dtype != np.uint8 or mask.shape != labels.shape:
        raise InputError(f"mask must be {labels.shape} uint8, got {mask.shape} {mask.dtype}")
    if labels.max() >= n_regions:
        raise InputError(f"labels hold id {labels.max()}, n_regions is {n_regions}")
    counts = np.zeros(n_regions * n_classes, np.int64)
    flat_labels, flat_mask = labels.reshape(-1), mask.reshape(-1)
    step = max(_PIXELS_AT_ONCE, len(counts))  # bincount makes a table of all counts per step
    for start in range(0, labels.size, step):
        part = slice(start, start + step)
        annotated = flat_mask[part] != NOT_ANNOTATED
        classes = flat_mask[part][annotated]
        if classes.max(initial=0) >= n_classes:
            raise InputError(
                f"mask holds class {classes.max()}, allowed are 0..{n_classes - 1} and "
                f"{NOT_ANNOTATED} for not annotated; raise n_classes or correct the mask"
            )
        keys = flat_labels[part][annotated].astype(np.int64) * n_classes + classes
        counts += np.bincount(keys, minlength=len(counts))
    return counts.reshape(n_regions, n_classes)


def ceiling_mask(labels: LabelsZYX, mask: MaskZYX, n_classes: int) -> MaskZYX:
    """Give each superpixel the class that most of its annotated pixels have.

    The best mask that one class per superpixel can make. A tie goes to the lowest class; a
    superpixel without annotated pixels gets class 0.

    Returns
    -------
    (Z, Y, X) uint8, without 255
    """
    counts = class_counts(labels, mask, int(labels.max()) + 1, n_classes)
    return counts.argmax(1).astype(np.uint8)[labels]


def achievable_segmentation_accuracy(labels: LabelsZYX, mask: MaskZYX, n_classes: int) -> float:
    """Accuracy of `ceiling_mask` over the annotated pixels; NaN if there are none.

    References
    ----------
    Liu et al., Entropy rate superpixel segmentation, CVPR 2011, doi:10.1109/CVPR.2011.5995323
    """
    counts = class_counts(labels, mask, int(labels.max()) + 1, n_classes)
    return _ratio(counts.max(1).sum(), counts.sum())


def undersegmentation_error(labels: LabelsZYX, mask: MaskZYX, n_classes: int) -> float:
    """Fraction of pixels that leak over class borders, 0 (best) upwards; NaN if none is annotated.

    Each pair of a class and a superpixel that overlap adds the smaller of the part inside and the
    part outside, so that a large superpixel that only grazes a class is not punished as a whole.

    References
    ----------
    Neubert and Protzel, Superpixel benchmark and comparison, Forum Bildverarbeitung 2012
    """
    counts = class_counts(labels, mask, int(labels.max()) + 1, n_classes)
    outside = counts.sum(1, keepdims=True) - counts
    return _ratio(np.minimum(counts, outside).sum(), counts.sum())


def boundary_recall(labels: LabelsZYX, mask: MaskZYX, tolerance_px: int) -> float:
    """Fraction of the in-plane class borders that lie near a superpixel border.

    A pixel is on a border if the pixel below or to the right of it, in the same slice, differs.
    Near means within a window of ``2 * tolerance_px + 1`` pixels in y and x. Where either side is
    not annotated there is no class border. NaN if the mask has no border.

    References
    ----------
    Stutz et al., Superpixels: an evaluation of the state-of-the-art, CVIU 2018,
    doi:10.1016/j.cviu.2017.03.007
    """
    if tolerance_px < 0:
        raise InputError(f"tolerance_px must be >= 0, got {tolerance_px}")
    if mask.shape != labels.shape:
        raise InputError(f"mask must be {labels.shape}, got {mask.shape}")
    window = 2 * tolerance_px + 1
    near = maximum_filter(_borders(labels), size=(1, window, window), mode="constant")
    wanted = _borders(mask, mask != NOT_ANNOTATED)
    return _ratio((wanted & near).sum(), wanted.sum())


def _borders(values: LabelsZYX | MaskZYX, valid: Bool | None = None) -> Bool:
    """Mark pixels whose lower or right neighbour differs and is valid as they are."""
    ok = np.ones(values.shape, bool) if valid is None else valid
    out = np.zeros(values.shape, bool)
    out[:, :-1] |= (values[:, :-1] != values[:, 1:]) & ok[:, :-1] & ok[:, 1:]
    out[:, :, :-1] |= (values[:, :, :-1] != values[:, :, 1:]) & ok[:, :, :-1] & ok[:, :, 1:]
    return out


def _ratio(part: Int64, whole: Int64) -> float:
    """Divide counts; NaN without any."""
    return float(part / whole) if whole else float("nan")
