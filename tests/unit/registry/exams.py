"""Exams as data: counts of images, so that no model need run."""

import numpy as np

from spixgraph.registry.exam import Exam

PASSED = {"parity_max_difference": 1e-6}


def exam(*hits: float, test="t1", classes=("background", "cell"), seconds=1.0, measured=50) -> Exam:
    """One image of 1000 + 1000 pixels per entry, of which this share is right."""
    confusions = []
    for share in hits:
        right = round(1000 * share)
        confusions.append([[right, 1000 - right], [1000 - right, right]])
    return Exam(
        test_sha256=test,
        ids=tuple(map(str, range(len(hits)))),
        classes=classes,
        confusions=np.array(confusions, np.int64),
        seconds=seconds,
        megapixels=1.0,
        predicted_bytes=100,
        measured_bytes=measured,
    )
