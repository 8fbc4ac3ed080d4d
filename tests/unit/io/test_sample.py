"""Sample boxes: all of a small image, spread over a large one."""

import math

import numpy as np
import pytest

from spixgraph.io.sample import SAMPLE_PX, sample_boxes, slice_step
from spixgraph.io.source import row_boxes

CUBE = (1.0, 1.0, 1.0)


def test_a_small_image_is_its_own_sample():
    for shape, size in (((1, 4096, 4096), None), ((7, 9, 11), CUBE)):
        assert sample_boxes(shape, size) == [tuple(slice(0, n) for n in shape)]


@pytest.mark.parametrize(("shape", "size", "cell"), [
    ((1, 4096, 4097), None, (1, 512, 512)),
    ((1, 10, 3_000_000), None, (1, 512, 512)),
    ((1, 60_000, 50_000), CUBE, (1, 512, 512)),
    ((300, 1000, 1100), None, (1, 512, 512)),
    ((300, 1000, 1100), (4.0, 1.0, 1.0), (1, 512, 512)),
    ((300, 1000, 1100), (2.0, 1.0, 1.0), (64, 64, 64)),
])  # fmt: skip
def test_cells_are_spread_over_the_image(shape, size, cell):
    boxes = sample_boxes(shape, size)
    n_px = [math.prod(s.stop - s.start for s in box) for box in boxes]
    assert sum(n_px) == pytest.approx(SAMPLE_PX, rel=0.1)
    n_cells = [-(-n // c) for n, c in zip(shape, cell, strict=True)]
    numbers = []
    for box in boxes:
        assert all(s.start % c == 0 and s.stop == min(s.start + c, n)
                   for s, c, n in zip(box, cell, shape, strict=True))  # fmt: skip
        numbers.append(
            int(
                np.ravel_multi_index(
                    [s.start // c for s, c in zip(box, cell, strict=True)], n_cells
                )
            )
        )
    n, all_cells = len(numbers), math.prod(n_cells)
    assert all(i * all_cells // n <= k < (i + 1) * all_cells // n for i, k in enumerate(numbers))
    columns = np.bincount(np.array(numbers) % n_cells[2], minlength=n_cells[2])
    assert columns.max() <= max(4, 3 * n / n_cells[2])


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
