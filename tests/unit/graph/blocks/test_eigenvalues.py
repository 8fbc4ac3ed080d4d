"""Eigenvalues of 3 x 3 matrices against those of numpy."""

import numpy as np
import pytest

from spixgraph.graph.blocks.eigenvalues import eigenvalues

UPPER = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)


def matrices(rng, n):
    """Symmetric matrices (n, 3, 3) of all sizes: some diagonal, some with two equal eigenvalues."""
    values = rng.normal(size=(n, 3))
    values[::3, 1] = values[::3, 0]
    values[1::9] = 0
    turns = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    turns[::4] = np.eye(3)
    size = 10.0 ** rng.uniform(-6, 6, n)
    turned = np.einsum("nij,nj,nkj->nik", turns, values * size[:, None], turns)
    return (turned + turned.transpose(0, 2, 1)) / 2


@pytest.mark.parametrize(("dtype", "apart", "equal"), [("f4", 5e-6, 5e-4), ("f8", 2e-7, 2e-7)])
def test_eigenvalues_are_those_of_numpy(dtype, apart, equal):
    found, wanted = [], []
    for matrix in matrices(np.random.default_rng(0), 3000).astype(dtype):
        found.append(eigenvalues(*matrix[UPPER]))
        wanted.append(np.linalg.eigvalsh(matrix.astype("f8")))
    error = np.abs(np.array(found, "f8") - wanted)
    scale = np.abs(wanted).max(1, keepdims=True)
    gap = np.diff(wanted, axis=1).min(1)[:, None] / np.maximum(scale, 1e-30)
    limit = np.where(gap < 0.05, equal, apart) * scale
    assert (error <= limit).all(), (error / np.maximum(scale, 1e-30)).max()
    assert (np.array(wanted) == 0).all(1).sum() > 100
