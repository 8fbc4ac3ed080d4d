"""Confusion counts and their ratios, on drawn masks."""

import math

import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.evaluate import counts
from spixgraph.evaluate.counts import confusion, mean_of_known, scores

TRUTH = np.array([[[0, 0, 1], [1, 2, 255]]], np.uint8)
PREDICTION = np.array([[[0, 1, 1], [1, 0, 2]]], np.uint8)


def test_rows_are_truth_and_not_annotated_is_left_out():
    counted = confusion(TRUTH, PREDICTION, n_classes=3)
    assert counted.dtype == np.int64
    assert counted.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_scores_of_a_drawn_example():
    result = scores(np.array([[1, 1, 0], [0, 2, 0], [1, 0, 0]]))
    assert result.accuracy == 3 / 5
    assert result.iou_per_class == (1 / 3, 2 / 3, 0.0)
    assert result.f1_per_class == (2 / 4, 4 / 5, 0.0)
    assert result.macro_iou == pytest.approx(1 / 3)


def test_absent_class_is_nan_and_not_in_the_mean():
    result = scores(np.array([[3, 0, 1], [0, 0, 0], [0, 0, 4]]))
    assert math.isnan(result.iou_per_class[1])
    assert math.isnan(result.f1_per_class[1])
    assert result.macro_iou == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_class_only_in_the_prediction_counts_as_zero():
    assert scores(np.array([[3, 1], [0, 0]])).iou_per_class == (3 / 4, 0.0)


def test_nothing_annotated_gives_nan_without_warning():
    blank = np.full((1, 2, 2), 255, np.uint8)
    result = scores(confusion(blank, np.zeros_like(blank), n_classes=2))
    assert all(map(math.isnan, (result.accuracy, result.macro_iou, result.macro_f1)))


def test_chunks_do_not_change_the_counts(monkeypatch):
    whole = confusion(TRUTH, PREDICTION, n_classes=3)
    monkeypatch.setattr(counts, "_CHUNK_PX", 2)
    np.testing.assert_array_equal(confusion(TRUTH, PREDICTION, n_classes=3), whole)


def test_counts_of_255_classes_keep_all_ids():
    ids = np.arange(255, dtype=np.uint8).reshape(1, 15, 17)
    np.testing.assert_array_equal(confusion(ids, ids, n_classes=255), np.eye(255, dtype=np.int64))


@pytest.mark.parametrize(
    ("truth", "prediction", "n_classes", "message"),
    [
        (TRUTH, PREDICTION, 2, r"truth holds class ids \[2\], allowed are 0..1 or 255"),
        (TRUTH, PREDICTION + 1, 3, r"prediction holds class ids \[3\], allowed are 0..2;"),
        (TRUTH, TRUTH, 3, r"prediction holds class ids \[255\]"),
        (TRUTH, PREDICTION[:, :1], 3, r"truth has shape \(1, 2, 3\) but prediction \(1, 1, 3\)"),
        (TRUTH[0], PREDICTION[0], 3, r"truth must be \(Z, Y, X\) uint8, got shape \(2, 3\)"),
        (TRUTH, PREDICTION.astype(np.int64), 3, r"prediction must be .* int64"),
        (TRUTH, PREDICTION, 0, "n_classes must be 1..255, got 0"),
        (TRUTH, PREDICTION, 256, "n_classes must be 1..255, got 256"),
    ],
)
def test_bad_masks_are_named(truth, prediction, n_classes, message):
    with pytest.raises(InputError, match=message):
        confusion(truth, prediction, n_classes=n_classes)


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 3), int), np.zeros((2, 2)), np.array([[1, -1], [0, 0]]), np.zeros(4, int)]
)
def test_scores_refuse_what_is_not_a_confusion(bad):
    with pytest.raises(InputError, match=r"confusion must be \(K, K\) integers >= 0"):
        scores(bad)


def test_mean_does_not_depend_on_the_order():
    values = [0.1, 0.7, math.nan, 1e-17, 0.3]
    assert mean_of_known(values) == mean_of_known(values[::-1])
