"""Eigenvalues of 3 x 3 matrices against those of numpy."""

import numpy as np
import pytest

from spixgraph.graph.blocks.eigenvalues import eigenvalues
from spixgraph.graph.blocks.filters import write_hessian_3d

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


@pytest.mark.parametrize("along_z", [0.0, 1.0])
def test_curvatures_that_are_equal(along_z):
    """Bright points, or bright lines along z: as exact as others, though a double root is hard."""
    bright = np.random.default_rng(1).uniform(0.1, 1, 200).astype(np.float32)
    grey = np.zeros((3, 3, 2 * len(bright) + 1), np.float32)
    grey[1, 1, 1::2] = bright
    if not along_z:
        grey[[0, 2], 1, 1::2] = bright
    found = np.zeros((3, 2 * len(bright) - 1), np.float32)
    one = np.float32(1)
    write_hessian_3d(grey, 0, 0, one, one, *found)
    curved = -2 * bright.astype("f8")
    wanted = curved, curved, curved * along_z
    np.testing.assert_allclose(found[:, ::2], wanted, rtol=0, atol=1e-6)
