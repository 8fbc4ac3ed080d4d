"""Calibration counts against their slow twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spixgraph.errors import InputError
from spixgraph.evaluate.calibration import Calibration, calibration_counts


def drawn(seed, shape=(2, 9, 11)):
    rng = np.random.default_rng(seed)
    truth, prediction = (rng.integers(0, 3, shape).astype(np.uint8) for _ in range(2))
    truth[rng.random(shape) < 0.2] = 255
    return truth, prediction, rng.integers(0, 256, shape).astype(np.uint8)


@given(st.integers(0, 2**32))
def test_error_is_that_of_the_slow_twin(seed):
    truth, prediction, confidence = drawn(seed)
    bins: dict[int, list[tuple[bool, float]]] = {}
    for t, p, c in zip(truth.ravel(), prediction.ravel(), confidence.ravel() / 255, strict=True):
        if t != 255:
            k = next(k for k in range(15) if c <= (k + 1) / 15 + 1e-12)
            bins.setdefault(k, []).append((t == p, c))
    n = sum(len(b) for b in bins.values())
    ece = sum(len(b) / n * abs(np.mean([r for r, _ in b]) - np.mean([c for _, c in b]))
              for b in bins.values())  # fmt: skip
    counts = calibration_counts(truth, prediction, confidence)
    assert counts.ece == pytest.approx(ece, abs=1e-12)
    assert [b["n"] for b in counts.summary()["bins"]] == [len(bins.get(k, [])) for k in range(15)]


def test_parts_add_up():
    truth, prediction, confidence = drawn(0)
    top = calibration_counts(truth[:1], prediction[:1], confidence[:1])
    rest = calibration_counts(truth[1:], prediction[1:], confidence[1:])
    whole = calibration_counts(truth, prediction, confidence)
    assert (top + rest).counts() == whole.counts()
    assert Calibration.of_counts(whole.counts()).summary() == whole.summary()


def test_honest_certain_and_empty():
    truth = np.zeros((1, 4, 5), np.uint8)
    certain = np.full_like(truth, 255)
    assert calibration_counts(truth, truth, certain).ece == 0
    assert calibration_counts(truth, truth + 1, certain).ece == 1
    nothing = calibration_counts(certain, truth, certain)
    assert nothing.ece is None
    assert nothing.summary()["bins"][0] == {"n": 0, "accuracy": None, "confidence": None}
    with pytest.raises(InputError, match="one shape"):
        calibration_counts(truth, truth, certain[..., :2])
