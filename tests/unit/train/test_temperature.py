"""The temperature makes probabilities honest."""

import numpy as np
import pytest

from spixgraph.train.temperature import fit_temperature


def drawn(sharpness: float, *, seed: int = 0, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits `sharpness` times those that the classes were drawn by, and the classes."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3))
    noise = rng.gumbel(size=(n, 3))
    classes = (logits + noise).argmax(1)
    return (sharpness * logits).astype(np.float32), np.eye(3)[classes]


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_overconfidence_is_found(sharpness: float) -> None:
    assert fit_temperature([drawn(sharpness)]) == pytest.approx(sharpness, rel=0.05)


def test_rows_weigh_by_their_pixels() -> None:
    sharp, flat = drawn(4.0, seed=1), drawn(1.0, seed=2)
    light = (sharp[0], sharp[1] * 1e-6)
    assert fit_temperature([light, flat]) == pytest.approx(fit_temperature([flat]), rel=1e-2)
    assert fit_temperature([sharp, flat]) > 1.3


def test_nothing_to_judge_changes_nothing() -> None:
    logits, pixels = drawn(3.0, n=10)
    assert fit_temperature([]) == 1.0
    assert fit_temperature([(logits, pixels * 0)]) == 1.0


def test_logits_of_any_size_are_finite() -> None:
    logits, pixels = drawn(1e4, n=100)
    assert fit_temperature([(logits, pixels)]) == pytest.approx(10, rel=1e-2)
