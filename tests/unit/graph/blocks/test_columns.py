"""The shape of superpixels against numpy, where it is hardest: lines of pixels in a volume."""

import numpy as np
import pytest

from spixgraph.graph.blocks.columns import write_shape


@pytest.mark.parametrize("step", [(0, 0, 1), (0, 1, 1), (1, 1, 1), (1, 2, 3), (0, 1, 5)])
@pytest.mark.parametrize("n", [1, 2, 17, 64])
def test_shape_of_a_line(n: int, step: tuple[int, int, int]) -> None:
    at = np.arange(n)[:, None] * np.array(step)
    z, y, x = at.T
    sums = [v.sum() for v in (z, y, x, z * z, z * y, z * x, y * y, y * x, x * x)]
    found = np.zeros((1, 4), np.float32)
    write_shape(np.array([[n, 0, *sums]], np.int64), False, found, 0)
    axes = np.linalg.eigvalsh(np.cov(at.T, bias=True) + np.eye(3) / 12)
    full = 4 / 3 * np.pi * np.sqrt(5**3 * axes.prod())
    wanted = np.log(n), 0, 1 - np.sqrt(axes[0] / axes[2]), n / full
    np.testing.assert_allclose(found[0], wanted, rtol=1e-6, atol=1e-6)
