"""One number that makes the probabilities of a trained network honest."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy.optimize import minimize_scalar

from spixgraph.arrays import Float32, Float64

Judged: TypeAlias = tuple[Float32, Float64]
"""Logits (m, K), and how many pixels of each class (m, K) each row stands for."""
_LOWEST, _HIGHEST = 0.1, 10.0
_MOST_ROWS = 400_000
"""Of one graph; of more, every second or third or ... is taken."""


def fit_temperature(judged: Sequence[Judged]) -> float:
    """Find the number that logits are divided by before the softmax.

    It minimises the cross entropy of the pixels, and changes no class.

    Parameters
    ----------
    judged : sequence of Judged
        Of validation graphs, which the network has not learned from.

    Returns
    -------
    float
        0.1 to 10; 1 where no row stands for a pixel.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv:1706.04599
    """
    rows = [_some(logits, pixels) for logits, pixels in judged]
    logits = np.concatenate([r[0] for r in rows]) if rows else np.empty((0, 1))
    pixels = np.concatenate([r[1] for r in rows]) if rows else np.empty((0, 1))
    if not pixels.sum() > 0:
        return 1.0
    found = minimize_scalar(
        lambda log_t: _cross_entropy(logits / math.exp(log_t), pixels),
        bounds=(math.log(_LOWEST), math.log(_HIGHEST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.float32(math.exp(found.x)))


def _some(logits: Float32, pixels: Float64) -> tuple[Float64, Float64]:
    step = max(1, math.ceil(len(logits) / _MOST_ROWS))
    return logits[::step].astype(np.float64), pixels[::step]


def _cross_entropy(logits: Float64, pixels: Float64) -> float:
    """Mean over the pixels of the negative logarithm of the probability of the true class."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-(pixels * log_p).sum() / pixels.sum())
