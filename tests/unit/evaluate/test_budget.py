import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.evaluate.budget import error_budget


def test_the_parts_add_up_to_the_wrong_pixels() -> None:
    rng = np.random.default_rng(0)
    truth, best, prediction = (rng.integers(0, 3, (2, 9, 7)).astype(np.uint8) for _ in range(3))
    truth[0, :3] = 255
    budget = error_budget(truth, best, prediction)
    known = truth != 255
    assert budget.annotated == known.sum()
    assert budget.wrong == (known & (prediction != truth)).sum()
    top = error_budget(truth[:1], best[:1], prediction[:1])
    bottom = error_budget(truth[1:], best[1:], prediction[1:])
    assert top + bottom == budget


def test_a_perfect_decoder_wins_all_back() -> None:
    truth = np.array([[[0, 0, 1, 255]]], np.uint8)
    best = np.zeros_like(truth)
    budget = error_budget(truth, best, truth)
    assert (budget.superpixels, budget.won_back, budget.classifier) == (1, 1, 0)
    with pytest.raises(InputError, match="one shape"):
        error_budget(truth, best, truth[..., :2])
