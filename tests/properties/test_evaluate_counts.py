"""Laws of the confusion counts and the boundary counts, against slow and obvious twins."""

import math
from unittest.mock import patch

import hypothesis.extra.numpy as npst
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spixgraph.evaluate import boundary
from spixgraph.evaluate.boundary import BoundaryCounts, boundary_counts
from spixgraph.evaluate.counts import confusion, scores

K = 3
SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9))
CLASSES = st.sampled_from([0, 1, 2])
TRUE_IDS = st.sampled_from([0, 1, 2, 255])


@st.composite
def mask_pairs(draw):
    """Truth with holes, and a prediction of its shape."""
    shape = draw(SHAPES)
    truth = draw(npst.arrays(np.uint8, shape, elements=TRUE_IDS))
    return truth, draw(npst.arrays(np.uint8, shape, elements=CLASSES))


def confusion_slow(truth, prediction):
    counts = np.zeros((K, K), np.int64)
    for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
        if t != 255:
            counts[t, p] += 1
    return counts


def border_slow(mask, known):
    """Pixels (y, x) of a slice with a known 4-neighbour of another class."""
    height, width = mask.shape
    found = []
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                v, u = y + dy, x + dx
                inside = 0 <= v < height and 0 <= u < width
                if inside and known[y, x] and known[v, u] and mask[y, x] != mask[v, u]:
                    found.append((y, x))
                    break
    return found


def boundary_slow(truth, prediction, tolerance_px):
    def n_near(ours, theirs):
        return sum(any(math.dist(a, b) <= tolerance_px for b in theirs) for a in ours)

    n = np.zeros(4, np.int64)
    for t, p in zip(truth, prediction, strict=True):
        true, predicted = border_slow(t, t != 255), border_slow(p, t != 255)
        n += [len(true), n_near(true, predicted), len(predicted), n_near(predicted, true)]
    return BoundaryCounts(tolerance_px, *n.tolist())


@given(pair=mask_pairs())
def test_confusion_matches_slow_twin(pair):
    np.testing.assert_array_equal(confusion(*pair, n_classes=K), confusion_slow(*pair))


@settings(deadline=None)
@given(pair=mask_pairs(), tolerance_px=st.integers(0, 6))
def test_boundary_matches_slow_twin(pair, tolerance_px):
    truth, prediction = pair
    found = boundary_counts(truth, prediction, tolerance_px=tolerance_px)
    assert found == boundary_slow(truth, prediction, tolerance_px)


@given(pair=mask_pairs(), tolerance_px=st.integers(0, 6), strip=st.integers(1, 9))
def test_strips_do_not_change_the_boundary_counts(pair, tolerance_px, strip):
    whole = boundary_counts(*pair, tolerance_px=tolerance_px)
    with patch.object(boundary, "_STRIP_PX", strip):
        assert boundary_counts(*pair, tolerance_px=tolerance_px) == whole


@given(pair=mask_pairs(), tolerance_px=st.integers(0, 4), axis=st.sampled_from([0, 1, 2]))
def test_mirrored_masks_give_equal_boundary_counts(pair, tolerance_px, axis):
    mirrored = [np.flip(mask, axis) for mask in pair]
    assert boundary_counts(*mirrored, tolerance_px=tolerance_px) == boundary_counts(
        *pair, tolerance_px=tolerance_px
    )


@given(pair=mask_pairs(), tolerance_px=st.integers(0, 4))
def test_a_wider_tolerance_loses_no_hit(pair, tolerance_px):
    near = boundary_counts(*pair, tolerance_px=tolerance_px)
    wide = boundary_counts(*pair, tolerance_px=tolerance_px + 1)
    assert wide.n_truth_hit >= near.n_truth_hit
    assert wide.n_predicted_hit >= near.n_predicted_hit


@given(mask=npst.arrays(np.uint8, SHAPES, elements=CLASSES), tolerance_px=st.integers(0, 3))
def test_perfect_prediction_scores_one(mask, tolerance_px):
    result = scores(confusion(mask, mask, n_classes=K))
    assert result.accuracy == result.macro_iou == result.macro_f1 == 1.0
    assert {v for v in result.iou_per_class if not math.isnan(v)} == {1.0}
    f1 = boundary_counts(mask, mask, tolerance_px=tolerance_px).f1
    assert math.isnan(f1) or f1 == 1.0


@given(pair=mask_pairs(), filler=CLASSES)
def test_prediction_where_nothing_is_annotated_changes_nothing(pair, filler):
    truth, prediction = pair
    other = np.where(truth == 255, np.uint8(filler), prediction)
    np.testing.assert_array_equal(
        confusion(truth, other, n_classes=K), confusion(truth, prediction, n_classes=K)
    )
    assert boundary_counts(truth, other, tolerance_px=2) == boundary_counts(
        truth, prediction, tolerance_px=2
    )


@given(pair=mask_pairs(), cut=st.integers(0, 9))
def test_confusion_of_parts_adds_up(pair, cut):
    truth, prediction = pair
    parts = [
        confusion(t, p, n_classes=K)
        for t, p in zip(
            (truth[:, :cut], truth[:, cut:]),
            (prediction[:, :cut], prediction[:, cut:]),
            strict=True,
        )
    ]
    np.testing.assert_array_equal(sum(parts), confusion(truth, prediction, n_classes=K))


@given(counts=npst.arrays(np.int64, (K, K), elements=st.integers(0, 2**40)))
def test_scores_lie_between_zero_and_one_and_iou_below_f1(counts):
    result = scores(counts)
    for iou, f1 in zip(result.iou_per_class, result.f1_per_class, strict=True):
        assert math.isnan(iou) == math.isnan(f1)
        assert math.isnan(iou) or 0 <= iou <= f1 <= 1


@given(
    counts=npst.arrays(np.int64, (K, K), elements=st.integers(0, 50)),
    order=st.permutations(range(K)),
)
def test_renumbering_classes_renumbers_scores(counts, order):
    moved, result = scores(counts[np.ix_(order, order)]), scores(counts)
    np.testing.assert_equal(moved.accuracy, result.accuracy)
    np.testing.assert_equal(moved.macro_iou, result.macro_iou)
    np.testing.assert_equal(list(moved.iou_per_class), [result.iou_per_class[i] for i in order])
