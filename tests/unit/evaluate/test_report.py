"""The report: its keys, its figures, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.evaluate.boundary import BoundaryCounts
from spixgraph.evaluate.report import build_report, pooled_metrics, with_selection
from spixgraph.evaluate.results import Ceiling, ImageResult, InferenceCost, ModelResult, TrainCost
from spixgraph.files import canonical_json

NAMES = ("background", "cell", "rest")
METRICS = {"accuracy", "macro_iou", "macro_f1", "boundary_f1", "iou_per_class"}


def _build(models, **changes):
    return build_report(
        **{"dataset": "toy", "split": "test", "class_names": NAMES, "models": models, **changes}
    )


def _image(image_id, confusion, boundary=None):
    return ImageResult(image_id, np.array(confusion), boundary or BoundaryCounts(2))


def test_keys_are_those_promised(report):
    assert {"dataset", "split", "ceiling", "models"} <= set(report)
    assert set(report["ceiling"]) == {"rag"}
    assert set(report["ceiling"]["rag"]) >= METRICS | {"n_nodes", "nodes_per_megapixel"}
    for model in report["models"]:
        assert {"name", "seed", "n_parameters", "metrics", "train", "inference"} <= set(model)
        assert set(model["metrics"]) == METRICS
        assert {"seconds", "peak_rss_bytes", "peak_gpu_bytes"} <= set(model["train"])
        assert set(model["inference"]) >= {
            *("seconds", "megapixels", "peak_rss_bytes", "peak_gpu_bytes", "superpixel_seconds")
        }


def test_report_survives_its_file(report):
    assert json.loads(canonical_json(report)) == report


def test_scores_are_pooled_and_the_mean_stands_beside():
    images = (_image("a", [[90, 0], [0, 10]]), _image("b", [[0, 0], [5, 5]]))
    (model,) = _build([ModelResult("gnn", 0, 1, images)], class_names=("x", "y"))["models"]
    assert model["metrics"]["accuracy"] == pytest.approx(105 / 110)
    assert model["metrics"]["iou_per_class"] == pytest.approx([90 / 95, 15 / 20])
    assert model["mean_over_images"]["accuracy"] == pytest.approx((1.0 + 0.5) / 2)
    assert model["mean_over_images"]["macro_iou"] == pytest.approx((1.0 + 0.25) / 2)
    assert model["confusion"] == [[90, 0], [5, 15]]


def test_absent_class_and_absent_border_are_none():
    metrics = pooled_metrics([_image("a", [[4, 0], [0, 0]])])
    assert metrics["iou_per_class"] == [1.0, None]
    assert metrics["boundary_f1"] is None
    assert metrics["macro_iou"] == 1.0


def test_image_without_border_is_left_out_of_the_mean():
    images = (_image("a", [[4]], BoundaryCounts(2, 4, 2, 4, 2)), _image("b", [[4]]))
    (model,) = _build([ModelResult("m", 0, 1, images)], class_names=("x",))["models"]
    assert model["mean_over_images"]["boundary_f1"] == 0.5


def test_costs_do_not_touch_the_scores(models):
    costly = [replace(m, train=TrainCost(9e9), inference=InferenceCost(9e9, 1)) for m in models]
    before, after = _build(models)["models"], _build(costly)["models"]
    assert [m["metrics"] for m in before] == [m["metrics"] for m in after]


def test_ceiling_counts_nodes(report):
    assert report["ceiling"]["rag"]["nodes_per_megapixel"] == pytest.approx(60 / 0.02)


def test_summary_counts_annotated_pixels(report):
    assert report["images"]["n"] == 3
    assert report["images"]["pixels_per_class"] == [3 * 115, 3 * 25, 0]
    assert report["images"]["annotated_megapixels"] == pytest.approx(420e-6)


def test_selection_is_a_copy_and_known(report):
    chosen = with_selection(report, name="cnn", seed=0, reason="It is best.")
    assert chosen["selected"] == {"name": "cnn", "seed": 0, "reason": "It is best."}
    assert report["selected"] is None
    with pytest.raises(InputError, match="gnn with seed 7 is not in the report"):
        with_selection(report, name="gnn", seed=7, reason="")


def test_models_on_other_images_are_refused(models):
    other = replace(models[1], per_image=models[1].per_image[:2])
    with pytest.raises(InputError, match="model cnn seed 0 has images"):
        _build([models[0], other])


def test_models_on_another_truth_are_refused(models):
    first, *rest = models[1].per_image
    moved = replace(first, confusion=first.confusion[::-1])
    with pytest.raises(InputError, match='cnn seed 0, image i"<1>: true pixels'):
        _build([models[0], replace(models[1], per_image=(moved, *rest))])


def test_another_tolerance_is_refused(models):
    first, *rest = models[1].per_image
    moved = replace(first, boundary=replace(first.boundary, tolerance_px=9))
    with pytest.raises(InputError, match="count all models against the same mask"):
        _build([models[0], replace(models[1], per_image=(moved, *rest))])


def test_doubles_are_refused(models, ceilings):
    with pytest.raises(InputError, match="model gnn seed 0 occurs more than once"):
        _build([models[0], models[0]])
    with pytest.raises(InputError, match="ceiling rag occurs more than once"):
        _build(models, ceilings=ceilings * 2)
    twice = replace(models[0], per_image=models[0].per_image[:1] * 2)
    with pytest.raises(InputError, match="image id more than once"):
        _build([twice])


def test_empty_and_uneven_input_is_refused(models):
    with pytest.raises(InputError, match="at least one model"):
        _build([])
    with pytest.raises(InputError, match="the split is empty"):
        _build([replace(models[0], per_image=())])
    with pytest.raises(InputError, match="no images to score"):
        pooled_metrics([])
    with pytest.raises(InputError, match="confusion of 3 classes for 2 class names"):
        _build(models, class_names=("x", "y"))
    with pytest.raises(InputError, match="1 colours for 3 classes"):
        _build(models, colours=("#000000",))


def test_costs_check_themselves(models):
    with pytest.raises(InputError, match="seconds must be >= 0 or None, got -1"):
        TrainCost(seconds=-1)
    with pytest.raises(InputError, match=r"superpixel_seconds 3\.0 is a part of seconds 2\.0"):
        InferenceCost(seconds=2.0, superpixel_seconds=3.0)
    with pytest.raises(InputError, match="megapixels of a ceiling must be > 0, got 0"):
        Ceiling("rag", models[0].per_image, n_nodes=1, megapixels=0)
    with pytest.raises(InputError, match="confusion must be"):
        ImageResult("a", np.zeros((2, 3), np.int64), BoundaryCounts(1))
