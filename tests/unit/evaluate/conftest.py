"""Results of two models on three small images, with names that need escaping."""

import numpy as np
import pytest

from spixgraph.evaluate.boundary import boundary_counts
from spixgraph.evaluate.counts import confusion
from spixgraph.evaluate.report import build_report
from spixgraph.evaluate.results import (
    Ceiling,
    ImageResult,
    InferenceCost,
    ModelResult,
    TrainCost,
)

MIB = 2**20
CLASS_NAMES = ("background", "<b>&", "a|b")


def image_result(image_id: str, truth: np.ndarray, prediction: np.ndarray) -> ImageResult:
    return ImageResult(
        image_id,
        confusion(truth, prediction, n_classes=3),
        boundary_counts(truth, prediction, tolerance_px=1),
    )


def _results(share_wrong: float) -> tuple[ImageResult, ...]:
    """Three images; the first has most errors, the last none, and none has class 2."""
    rng = np.random.default_rng(5)
    results = []
    for image_id, factor in (('i"<1>', 1.0), ("i2", 0.5), ("i3", 0.0)):
        truth = np.zeros((1, 12, 14), np.uint8)
        truth[:, 3:8, 4:9] = 1
        truth[:, :2] = 255
        wrong = rng.random(truth.shape) < share_wrong * factor
        results.append(image_result(image_id, truth, np.where(wrong, 1 - truth % 2, truth % 2)))
    return tuple(results)


@pytest.fixture
def models() -> list[ModelResult]:
    train = TrainCost(61.25, 800 * MIB, 0, 300 * MIB)
    inference = InferenceCost(4.0, 10.0, 700 * MIB, 0, 3.0, 310 * MIB)
    return [
        ModelResult("gnn", 0, 1234, _results(0.4), train, inference),
        ModelResult("cnn", 0, 1_900_000, _results(0.1), TrainCost(peak_gpu_bytes=3 * 2**30)),
    ]


@pytest.fixture
def ceilings() -> list[Ceiling]:
    return [Ceiling("rag", _results(0.05), n_nodes=60, megapixels=0.02)]


@pytest.fixture
def report(models, ceilings):
    return build_report(
        dataset="toy <set>",
        split="test",
        class_names=CLASS_NAMES,
        models=models,
        ceilings=ceilings,
        notes=["Run on <one> core."],
    )
