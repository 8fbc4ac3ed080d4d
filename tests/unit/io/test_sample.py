"""Sample boxes: all of a small image, spread over a large one."""

import math

import numpy as np
import pytest

from spixgraph.io.sample import SAMPLE_PX, SPREAD_PX, sample_boxes, slice_step
from spixgraph.io.source import row_boxes

CUBE = (1.0, 1.0, 1.0)


def test_a_small_image_is_its_own_sample():
    for shape, size in (((1, 4096, 4096), None), ((7, 9, 11), CUBE)):
        assert sample_boxes(shape, size) == [tuple(slice(0, n) for n in shape)]


@pytest.mark.parametrize(("shape", "size", "part", "n_px"), [
    ((1, 4096, 4097), None, (1, 256, 256), SPREAD_PX),
    ((1, 10, 3_000_000), None, (1, 256, 256), SPREAD_PX),
    ((1, 60_000, 50_000), CUBE, (1, 256, 256), SPREAD_PX),
    ((300, 1000, 1100), None, (1, 256, 256), SPREAD_PX),
    ((300, 1000, 1100), (4.0, 1.0, 1.0), (1, 256, 256), SPREAD_PX),
    ((300, 1000, 1100), (2.0, 1.0, 1.0), (64, 64, 64), SAMPLE_PX),
])  # fmt: skip
def test_parts_are_spread_over_the_image(shape, size, part, n_px):
    boxes = sample_boxes(shape, size)
    assert sum(math.prod(s.stop - s.start for s in box) for box in boxes) == pytest.approx(
        n_px, rel=0.1
    )
    counts = [max(1, round(n / p)) for n, p in zip(shape, part, strict=True)]
    for box in boxes:
        for s, p, count, n in zip(box, part, counts, shape, strict=True):
            assert s.start % p == 0
            assert s.stop == (n if s.start // p == count - 1 else s.start + p)
            assert s.stop - s.start >= min(p / 2, n)
    numbers = [
        int(np.ravel_multi_index([s.start // p for s, p in zip(b, part, strict=True)], counts))
        for b in boxes
    ]
    n, n_parts = len(numbers), math.prod(counts)
    assert all(i * n_parts // n <= k < (i + 1) * n_parts // n for i, k in enumerate(numbers))
    columns = np.bincount(np.array(numbers) % counts[2], minlength=counts[2])
    assert columns.max() <= max(4, 3 * n / counts[2])


def test_slices_more_than_three_pixels_apart_stand_alone():
    assert slice_step(1, CUBE) is None
    assert slice_step(9, None) is None
    assert slice_step(9, (3.0, 1.0, 1.0)) == 3.0
    assert slice_step(9, (3.1, 1.0, 1.0)) is None


@pytest.mark.parametrize("shape", [(1, 1, 1), (40, 100, 90), (3, 50, 1_000_000)])
def test_row_boxes_are_whole_rows_and_cover_an_image_once(shape):
    hits = np.zeros(shape[:2], int)
    for z, y, x in row_boxes((*shape, 1)):
        assert (x.start, x.stop) == (0, shape[2])
        assert y.start % 16 == 0
        hits[z, y] += 1
    assert (hits == 1).all()
