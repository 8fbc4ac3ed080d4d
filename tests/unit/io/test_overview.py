"""The image from far, against means that are taken one by one."""

import numpy as np
import pytest

from spixgraph.io import overview
from spixgraph.io.images import ArraySource
from spixgraph.io.overview import (
    overview_factor,
    overview_mask,
    overview_shape,
    read_overview,
    standardised_cells,
    write_overview,
)


def slow_cells(pixels, factor):
    z, y, x, c = pixels.shape
    _, n_y, n_x = overview_shape((z, y, x), factor)
    cells = np.zeros((z, n_y, n_x, c))
    for i, j, k in np.ndindex(z, n_y, n_x):
        rows = np.minimum(np.arange(j * factor, (j + 1) * factor), y - 1)
        columns = np.minimum(np.arange(k * factor, (k + 1) * factor), x - 1)
        cells[i, j, k] = pixels[i][np.ix_(rows, columns)].mean((0, 1))
    return cells


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("strip_px", [1, 600, 1 << 22])
def test_cells_are_means_whatever_the_strips(monkeypatch, dtype, factor, strip_px):
    monkeypatch.setattr(overview, "STRIP_PX", strip_px)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 37, 51, 3)).astype(dtype)
    wanted = slow_cells(pixels, factor)
    found = read_overview(ArraySource(pixels), factor)
    flat = wanted.reshape(-1, 3)
    np.testing.assert_allclose(found, (wanted - flat.mean(0)) / flat.std(0), atol=1e-4)


def test_a_region_is_what_the_whole_image_has_there():
    pixels = np.random.default_rng(0).integers(0, 255, (1, 64, 96, 1)).astype(np.uint8)
    box = (slice(0, 1), slice(16, 64), slice(32, 80))
    cells = np.empty((12, 12, 1), np.float32)
    mean, spread = write_overview(ArraySource(pixels), box, 4, cells)
    wanted = slow_cells(pixels, 4)[0, 4:16, 8:20]
    np.testing.assert_allclose(cells, wanted, rtol=1e-6)
    scaled = standardised_cells(cells, mean, spread)
    assert abs(scaled.mean()) < 1e-5
    assert scaled.std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("strip_px", [1, 1 << 22])
def test_mask_has_the_class_in_the_middle(monkeypatch, strip_px):
    monkeypatch.setattr(overview, "STRIP_PX", strip_px)
    mask = np.random.default_rng(0).integers(0, 4, (2, 30, 41, 1)).astype(np.uint8)
    found = overview_mask(ArraySource(mask), 4)
    assert found.shape == overview_shape((2, 30, 41), 4)
    for z, y, x in np.ndindex(found.shape):
        assert found[z, y, x] == mask[z, min(4 * y + 2, 29), min(4 * x + 2, 40), 0]


def test_cells_follow_the_size_of_superpixels():
    flat = [overview_factor(n, is_volume=False) for n in (100_000, 8000, 2000, 500, 10)]
    assert flat == [2, 4, 8, 16, 16]
    assert overview_factor(8000, is_volume=True) == 2
