from math import pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spixgraph.io import changed
from spixgraph.io.changed import Change, changed_part
from spixgraph.io.images import ArraySource
from spixgraph.io.masks import MaskBands

MIDDLE = np.zeros(3)


def image_of(shape, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(10, 250, shape)
    return values.astype(dtype) if np.dtype(dtype).kind == "u" else (values / 7).astype(dtype)


def part_of(pixels, change, centre=MIDDLE, *, mask=None, size=None):
    """Change an image whose mask is its first channel, halved."""
    mask = pixels[..., 0].astype(np.uint8) // 2 if mask is None else mask
    bands = MaskBands(ArraySource(mask[..., None]))
    part, truth = changed_part(ArraySource(pixels, size), bands, change, np.asarray(centre))
    return part.read(*(slice(None),) * 3), truth


def slow_part(pixels, mask, change):
    """Look up the four pixels around each place of one slice; the border mirrors.

    Classes in the middle between two pixels are either's, so -1.
    """
    n_y, n_x = pixels.shape
    rows, columns = (max(1, round(n * change.zoom)) for n in pixels.shape)
    out, truth = np.empty((rows, columns)), np.empty((rows, columns), int)

    def at(y, x, values):
        y, x = (abs((k + n - 1) % max(1, 2 * n - 2) - n + 1) for k, n in ((y, n_y), (x, n_x)))
        return float(values[y, x])

    sine, cosine = np.sin(change.angle), np.cos(change.angle)
    for i in range(rows):
        for j in range(columns):
            v = (i - (rows - 1) / 2) / change.stretch / change.zoom
            u = (j - (columns - 1) / 2) * change.stretch / change.zoom
            y = (n_y - 1) / 2 + cosine * v - sine * u
            x = (n_x - 1) / 2 + sine * v + cosine * u
            a, b = int(np.floor(y)), int(np.floor(x))
            q, p = y - a, x - b
            out[i, j] = (1 - q) * ((1 - p) * at(a, b, pixels) + p * at(a, b + 1, pixels)) + q * (
                (1 - p) * at(a + 1, b, pixels) + p * at(a + 1, b + 1, pixels)
            )
            is_between = min(abs(q - 0.5), abs(p - 0.5)) < 1e-6
            nearest = at(int(np.floor(y + 0.5)), int(np.floor(x + 0.5)), mask)
            truth[i, j] = -1 if is_between else nearest
    return out, truth


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_no_change_gives_the_image(dtype):
    pixels = image_of((2, 13, 9, 3), dtype)
    seen, truth = part_of(pixels, Change())
    assert seen.dtype == dtype
    np.testing.assert_allclose(seen, pixels, rtol=1e-6 if dtype == np.float64 else 0)
    np.testing.assert_array_equal(truth, pixels[..., 0].astype(np.uint8) // 2)


@given(
    shape=st.tuples(st.integers(2, 14), st.integers(2, 14)),
    angle=st.floats(0, 2 * pi),
    zoom=st.floats(0.6, 1.7),
    stretch=st.floats(0.9, 1.1),
)
def test_matches_the_slow_twin(shape, angle, zoom, stretch):
    pixels = image_of((1, *shape, 1), np.float32)
    mask = image_of((1, *shape))
    change = Change(angle=angle, zoom=zoom, stretch=stretch)
    middle = (0, (shape[0] - 1) / 2, (shape[1] - 1) / 2)
    seen, truth = part_of(pixels, change, middle, mask=mask)
    slow, slow_truth = slow_part(pixels[0, ..., 0], mask[0], change)
    np.testing.assert_allclose(seen[0, ..., 0], slow, atol=0.01)
    known = slow_truth >= 0
    np.testing.assert_array_equal(truth[0][known], slow_truth[known])


def test_image_and_mask_turn_together():
    pixels = image_of((1, 12, 12, 1))
    seen, truth = part_of(pixels, Change(angle=pi / 2))
    turned = np.rot90(pixels[0, ..., 0], -1)
    assert any(np.array_equal(seen[0, ..., 0], np.rot90(turned, k)) for k in (0, 2))
    np.testing.assert_array_equal(truth[0], seen[0, ..., 0] // 2)


class Counting(ArraySource):
    """Note how many pixels are read."""

    def __init__(self, pixels):
        super().__init__(pixels)
        self.n_read = 0

    def read(self, z, y, x):
        block = super().read(z, y, x)
        self.n_read += block[..., 0].size
        return block


@pytest.mark.parametrize("centre", [(0, 0, 0), (0, 150, 200), (0, 299, 399)])
def test_a_part_of_a_large_image_is_read_alone(monkeypatch, centre):
    monkeypatch.setattr(changed, "MAX_PX", 20 * 20)
    pixels = image_of((1, 300, 400, 1))
    source = Counting(pixels)
    bands = MaskBands(ArraySource(pixels))
    part, truth = changed_part(source, bands, Change(), np.array(centre))
    assert part.info.shape_zyxc == (1, 20, 20, 1)
    assert source.n_read <= 24 * 24
    y, x = (int(np.clip(c - 10, 0, n - 20)) for c, n in zip(centre[1:], (300, 400), strict=True))
    corners = [(y + i, x + j) for i in (0, 1) for j in (0, 1)]
    assert any(np.array_equal(truth, pixels[:, i : i + 20, j : j + 20, 0]) for i, j in corners)
    turned, _ = changed_part(source, bands, Change(angle=1.0), np.array(centre))
    assert turned.info.shape_zyxc == (1, 20, 20, 1)


def test_volumes_keep_their_slices_and_their_kind(monkeypatch):
    monkeypatch.setattr(changed, "MAX_SLICES", 6)
    pixels = image_of((10, 8, 9, 2))
    size = (1.0, 0.5, 0.5)
    seen, truth = part_of(pixels, Change(), (9, 4, 4), size=size)
    np.testing.assert_array_equal(seen, pixels[4:])
    assert truth.shape == (6, 8, 9)
    bands = MaskBands(ArraySource(pixels[..., :1]))
    part, _ = changed_part(ArraySource(pixels, size), bands, Change(zoom=0.5), MIDDLE)
    assert part.info.shape_zyxc == (6, 4, 4, 2)
    assert part.info.spacing_zyx == size


@pytest.mark.parametrize(
    "change", [Change(gamma=1.5), Change(blur_px=1.0), Change(noise=0.15, seed=3)]
)
def test_values_change_within_their_range(change):
    pixels = np.concatenate(
        [image_of((1, 30, 30, 1), np.uint16) * 100, np.full((1, 30, 30, 1), 7, np.uint16)], -1
    )
    seen, truth = part_of(pixels, change, mask=np.ones((1, 30, 30), np.uint8))
    assert (truth == 1).all()
    assert seen.dtype == np.uint16
    assert (seen[..., 0] != pixels[..., 0]).mean() > 0.5
    assert abs(np.corrcoef(seen[..., 0].ravel(), pixels[..., 0].ravel())[0, 1]) > 0.3
    assert (seen[..., 1] == 7).all()  # nothing is read into a channel that is empty
    again, _ = part_of(pixels, change, mask=np.ones((1, 30, 30), np.uint8))
    np.testing.assert_array_equal(seen, again)


def test_noise_stays_in_the_range_of_the_dtype():
    pixels = np.where(image_of((1, 40, 40, 1)) > 128, 255, 0).astype(np.uint8)
    seen, _ = part_of(pixels, Change(noise=0.15))
    assert set(np.unique(seen[pixels == 255])) > {255}
    assert seen[pixels == 255].min() > 100
    assert seen[pixels == 0].max() < 156


def test_changes_are_drawn_within_their_limits():
    rng = np.random.default_rng(0)
    drawn = [Change.drawn(rng) for _ in range(300)]
    assert len(set(drawn)) == 300
    assert all(1 / changed.MAX_ZOOM <= c.zoom <= changed.MAX_ZOOM for c in drawn)
    assert 0.3 < np.mean([c.gamma == 1 for c in drawn]) < 0.7
    assert 0.5 < np.mean([c.blur_px == 0 for c in drawn]) < 0.9
    assert 0.3 < np.mean([c.noise == 0 for c in drawn]) < 0.7
    assert drawn[0] == Change.drawn(np.random.default_rng(0))
