import math

import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.superpixels import quality
from spixgraph.superpixels.quality import (
    achievable_segmentation_accuracy,
    boundary_recall,
    ceiling_mask,
    class_counts,
    undersegmentation_error,
)

LABELS = np.array([[[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2]]], np.int32)
MASK = np.array([[[0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 0, 1]]], np.uint8)
HOLES = np.array([[[255, 0, 1, 1], [255, 1, 1, 1], [255, 255, 255, 255]]], np.uint8)


def counts_slow(labels, mask, n_regions, n_classes):
    return np.array(
        [[((labels == i) & (mask == c)).sum() for c in range(n_classes)] for i in range(n_regions)]
    )


def test_class_counts_match_the_slow_twin(monkeypatch):
    monkeypatch.setattr(quality, "_PIXELS_AT_ONCE", 7)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, (3, 8, 9)).astype(np.int32)
    mask = rng.choice([0, 1, 2, 255], (3, 8, 9)).astype(np.uint8)
    np.testing.assert_array_equal(class_counts(labels, mask, 8, 3), counts_slow(labels, mask, 8, 3))


def test_ceiling_takes_the_most_frequent_class_and_the_lowest_on_a_tie():
    wanted = [[[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]]
    np.testing.assert_array_equal(ceiling_mask(LABELS, MASK, 2), wanted)
    assert ceiling_mask(LABELS, MASK, 2).dtype == np.uint8


def test_pixels_that_are_not_annotated_count_nowhere():
    assert ceiling_mask(LABELS, HOLES, 2)[0, 2].tolist() == [0, 0, 0, 0]
    assert achievable_segmentation_accuracy(LABELS, HOLES, 2) == 5 / 6
    assert undersegmentation_error(LABELS, HOLES, 2) == 2 / 6
    everything_else = np.full_like(MASK, 255)
    assert math.isnan(achievable_segmentation_accuracy(LABELS, everything_else, 2))
    assert math.isnan(undersegmentation_error(LABELS, everything_else, 2))
    assert math.isnan(boundary_recall(LABELS, everything_else, 2))


def test_accuracy_and_leak_by_hand():
    assert achievable_segmentation_accuracy(LABELS, MASK, 2) == 9 / 12
    assert undersegmentation_error(LABELS, MASK, 2) == (1 + 1 + 2 + 2) / 12


def test_pixels_as_superpixels_are_perfect():
    labels = np.arange(12, dtype=np.int32).reshape(LABELS.shape)
    assert achievable_segmentation_accuracy(labels, MASK, 2) == 1
    assert undersegmentation_error(labels, MASK, 2) == 0
    assert boundary_recall(labels, MASK, 0) == 1
    np.testing.assert_array_equal(ceiling_mask(labels, MASK, 2), MASK)


def test_accuracy_is_that_of_the_ceiling_mask():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 30, (2, 20, 20)).astype(np.int32)
    mask = rng.choice([0, 1, 2, 255], (2, 20, 20)).astype(np.uint8)
    annotated = mask != 255
    hits = (ceiling_mask(labels, mask, 3) == mask)[annotated].mean()
    assert achievable_segmentation_accuracy(labels, mask, 3) == pytest.approx(hits)


def test_boundary_recall_grows_with_the_window():
    mask = np.zeros((1, 10, 20), np.uint8)
    mask[:, :, 10:] = 1
    labels = np.zeros((1, 10, 20), np.int32)
    labels[:, :, 13:] = 1
    assert [boundary_recall(labels, mask, t) for t in (0, 2, 3)] == [0, 0, 1]
    assert boundary_recall(np.zeros_like(labels), mask, 3) == 0
    assert math.isnan(boundary_recall(labels, np.zeros_like(mask), 3))


def test_boundary_recall_looks_within_slices():
    mask = np.zeros((2, 5, 9), np.uint8)
    mask[0, :, 4:] = 1
    labels = np.zeros((2, 5, 9), np.int32)
    labels[1, :, 4:] = 1
    assert boundary_recall(labels, mask, 2) == 0


def test_the_end_of_the_annotation_is_no_border():
    mask = np.full((1, 6, 9), 255, np.uint8)
    mask[:, 2:4, 3:6] = 1
    assert math.isnan(boundary_recall(np.zeros((1, 6, 9), np.int32), mask, 1))


@pytest.mark.parametrize(
    "call",
    [
        lambda: class_counts(LABELS, MASK, 2, 2),
        lambda: class_counts(LABELS, MASK, 3, 1),
        lambda: class_counts(LABELS, MASK[:, :2], 3, 2),
        lambda: class_counts(LABELS, MASK.astype(np.int32), 3, 2),
        lambda: class_counts(LABELS.astype(np.int64), MASK, 3, 2),
        lambda: boundary_recall(LABELS, MASK, -1),
        lambda: boundary_recall(LABELS, MASK[:, :2], 1),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InputError):
        call()
