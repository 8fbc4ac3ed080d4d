"""Which images and classes a model is worst at, by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from spixgraph.evaluate.counts import scores

N_WORST = 3
_KINDS = ("Worst", "Second worst", "Third worst")


def worst_images(model: dict[str, Any]) -> list[str]:
    """Ids of the images with the lowest macro IoU of one entry of `models`, at most three.

    Ties go to the smaller id; images without a score are left out.
    """
    scored = [(i["macro_iou"], i["id"]) for i in model["per_image"] if i["macro_iou"] is not None]
    return [image for _, image in sorted(scored)[:N_WORST]]


def extremes(model: dict[str, Any]) -> list[tuple[str, str]]:
    """Name the best image and the worst ones of one entry of `models`: (kind, id), once each."""
    scored = [(-i["macro_iou"], i["id"]) for i in model["per_image"] if i["macro_iou"] is not None]
    if not scored:
        return []
    best = min(scored)[1]
    worst = [image for image in worst_images(model) if image != best]
    if not worst:
        return [("Best and worst", best)]
    return [("Best", best), *zip(_KINDS, worst, strict=False)]


def worst_classes(model: dict[str, Any], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Describe the classes with the lowest IoU of one entry of `models`, at most three.

    Returns
    -------
    list of dict
        ``name, iou``; ``missed``, the share of its true pixels that got another class, None where
        there are none; ``taken_for``, the name of the class that most of those got, None where
        none was missed.
    """
    counts = np.array(model["confusion"], np.int64)
    iou = scores(counts).iou_per_class
    known = sorted((value, k) for k, value in enumerate(iou) if not np.isnan(value))
    found = []
    for value, k in known[:N_WORST]:
        true, others = counts[k].sum(), counts[k].copy()
        others[k] = 0
        found.append(
            {
                "name": class_names[k],
                "iou": value,
                "missed": float(others.sum() / true) if true else None,
                "taken_for": class_names[int(others.argmax())] if others.any() else None,
            }
        )
    return found
