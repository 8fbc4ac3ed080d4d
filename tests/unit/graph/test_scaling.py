import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.graph.scaling import Scaling, fit_scaling


def test_fit_is_mean_and_standard_deviation_of_all_rows():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(1000, 3, (n, 2)).astype(np.float32) for n in (5, 0, 70)]
    scaling = fit_scaling(arrays, ("a", "b"))
    rows = np.concatenate(arrays).astype(np.float64)
    np.testing.assert_allclose(scaling.mean, rows.mean(0))
    np.testing.assert_allclose(scaling.scale, rows.std(0))
    scaled = scaling.apply(np.concatenate(arrays))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(scaled.std(0), 1, atol=1e-3)


def test_apply_clips_and_leaves_its_argument():
    scaling = Scaling(("a",), np.array([1.0]), np.array([2.0]))
    values = np.array([[1.0], [3.0], [1e9], [-1e9]], np.float32)
    before = values.copy()
    assert scaling.apply(values).tolist() == [[0], [1], [6], [-6]]
    np.testing.assert_array_equal(values, before)


def test_constant_columns_and_no_rows_keep_scale_one():
    constant = np.full((9, 1), 0.1, np.float32)
    constant[0] += 1e-8
    assert fit_scaling([constant], ("a",)).scale.tolist() == [1]
    empty = fit_scaling([np.zeros((0, 2), np.float32)], ("a", "b"))
    assert (empty.mean.tolist(), empty.scale.tolist()) == ([0, 0], [1, 1])
    assert fit_scaling([], ("a",)).scale.tolist() == [1]


def test_identity_only_clips():
    values = np.array([[0.5, 1e-4]], np.float32)
    np.testing.assert_array_equal(Scaling.identity(("w", "v")).apply(values), values)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Scaling(("a",), np.zeros(2), np.ones(1)),
        lambda: Scaling(("a",), np.zeros(1), np.zeros(1)),
        lambda: Scaling(("a",), np.array([np.nan]), np.ones(1)),
        lambda: fit_scaling([np.zeros((3, 2), np.float32)], ("a",)),
        lambda: Scaling.identity(("a",)).apply(np.zeros((3, 2), np.float32)),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InputError):
        call()
