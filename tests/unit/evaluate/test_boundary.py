"""Boundary counts on drawn masks."""

import math

import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.evaluate.boundary import BoundaryCounts, boundary_counts


def _halves(column: int, shape: tuple[int, int] = (4, 12)) -> np.ndarray:
    """One slice: class 1 from `column` on."""
    mask = np.zeros((1, *shape), np.uint8)
    mask[..., column:] = 1
    return mask


def test_both_sides_of_a_border_count():
    found = boundary_counts(_halves(6), _halves(6), tolerance_px=0)
    assert found == BoundaryCounts(0, n_truth=8, n_truth_hit=8, n_predicted=8, n_predicted_hit=8)
    assert found.f1 == 1.0


@pytest.mark.parametrize(("shift", "tolerance_px", "f1"), [(1, 0, 0.5), (2, 1, 0.5), (2, 2, 1.0)])
def test_shift_is_forgiven_up_to_the_tolerance(shift, tolerance_px, f1):
    found = boundary_counts(_halves(5), _halves(5 + shift), tolerance_px=tolerance_px)
    assert found.f1 == f1


def test_tolerance_is_a_disc():
    truth, prediction = np.zeros((2, 1, 9, 9), np.uint8)
    truth[0, 0, 0] = 1  # border pixels (0,0), (0,1), (1,0)
    prediction[0, 3, 3] = 1  # border pixels: a plus around (3,3)
    assert boundary_counts(truth, prediction, tolerance_px=2).n_truth_hit == 0
    # (0,1)-(2,3) and (1,0)-(3,2) are sqrt(8) apart, (0,0) is sqrt(13) away
    assert boundary_counts(truth, prediction, tolerance_px=3).n_truth_hit == 2


def test_recall_and_precision_are_told_apart():
    truth = _halves(4, (4, 20))
    prediction = truth.copy()
    prediction[..., 12:] = 0
    found = boundary_counts(truth, prediction, tolerance_px=1)
    assert (found.n_truth, found.n_truth_hit) == (8, 8)
    assert (found.n_predicted, found.n_predicted_hit) == (16, 8)
    assert found.f1 == pytest.approx(2 / 3)


def test_no_border_on_either_side_is_nan():
    blank = np.zeros((1, 4, 4), np.uint8)
    assert math.isnan(boundary_counts(blank, blank, tolerance_px=2).f1)


def test_border_on_one_side_only_is_zero():
    blank = np.zeros((1, 4, 12), np.uint8)
    assert boundary_counts(blank, _halves(6), tolerance_px=2).f1 == 0.0
    assert boundary_counts(_halves(6), blank, tolerance_px=2).f1 == 0.0


def test_rim_of_the_annotated_area_is_no_border():
    truth = _halves(6)
    truth[..., 5:7] = 255
    found = boundary_counts(truth, _halves(6), tolerance_px=2)
    assert (found.n_truth, found.n_predicted) == (0, 0)


def test_slices_count_apart():
    volume = np.concatenate([_halves(3), _halves(9)])
    blank = np.zeros_like(volume)
    assert boundary_counts(volume, volume, tolerance_px=1).n_truth == 16
    assert boundary_counts(volume, volume[::-1], tolerance_px=1).n_truth_hit == 0
    blank[1] = 1  # a face along z only
    assert boundary_counts(blank, blank, tolerance_px=1).n_truth == 0


def test_tolerance_larger_than_the_image():
    found = boundary_counts(_halves(2), _halves(11), tolerance_px=50)
    assert found.f1 == 1.0


def test_bad_input_is_named():
    with pytest.raises(InputError, match="tolerance_px must be >= 0, got -1"):
        boundary_counts(_halves(2), _halves(2), tolerance_px=-1)
    with pytest.raises(InputError, match="truth has shape"):
        boundary_counts(_halves(2), _halves(2)[:, 1:], tolerance_px=1)


def test_counts_of_two_tolerances_do_not_add_up():
    with pytest.raises(InputError, match="within 1 px and 2 px"):
        _ = BoundaryCounts(1) + BoundaryCounts(2)


@pytest.mark.parametrize("hits", [(3, 2), (-1, 2)])
def test_hits_are_part_of_the_border(hits):
    hit, total = hits
    with pytest.raises(InputError, match="n_truth_hit"):
        BoundaryCounts(1, n_truth=total, n_truth_hit=hit)
    with pytest.raises(InputError, match="n_predicted_hit"):
        BoundaryCounts(1, n_predicted=total, n_predicted_hit=hit)
