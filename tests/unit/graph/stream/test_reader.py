"""Strips against the image itself, and each pixel read once."""

import numpy as np
import pytest

from spixgraph.graph.stream import plan_image, reader
from spixgraph.graph.stream.reader import StripReader, strip_box
from spixgraph.graph.stream.region import region_of
from spixgraph.io.images import ArraySource, BandDigests, image_sha256
from tests.unit.graph.stream.images import CountingSource, pixels_of

CASES = [
    ((1, 150, 200, 2), None, (1, 32, 48)),
    ((3, 90, 70, 1), None, (1, 32, 32)),
    ((75, 90, 70, 1), (1.0, 1.0, 1.0), (16, 32, 16)),
    ((36, 70, 60, 1), (1.0, 1.0, 1.0), (16, 16, 16)),
    ((36, 10, 60, 1), (1.0, 1.0, 1.0), (8, 16, 16)),
]


@pytest.mark.parametrize(("shape", "size", "block"), CASES)
@pytest.mark.parametrize(("begin", "block_px"), [(0, None), (0, 33), (4, 33)])
def test_strips_are_parts_of_the_image_and_hashed(shape, size, block, begin, block_px):
    pixels = pixels_of(shape)
    source = ArraySource(pixels, size)
    plan = plan_image(source, nodes_per_megapixel=3000, block_zyx=block)
    region = region_of(plan.blocks.basins.grid, None)
    counting, digests = CountingSource(pixels, size), BandDigests(shape, pixels.dtype)
    strips = StripReader(counting, plan, region, digests, begin, block_px=block_px)
    for strip in range(begin, region.n_strips):
        found, box = strips.read()
        assert box == strip_box(plan, region, strip)
        np.testing.assert_array_equal(found, pixels[box])
    if begin == 0:
        assert (counting.n_read == 1).all()
        assert digests.hexdigest() == image_sha256(source)


def test_a_volume_whose_slices_are_not_kept_is_read_again(monkeypatch):
    monkeypatch.setattr(reader, "KEPT_BYTES", 10)
    pixels = pixels_of((75, 40, 50, 1))
    counting = CountingSource(pixels, (1.0, 1.0, 1.0))
    plan = plan_image(counting, nodes_per_megapixel=3000, block_zyx=(16, 16, 16))
    counting.n_read[...] = 0
    region = region_of(plan.blocks.basins.grid, None)
    strips = StripReader(counting, plan, region, BandDigests(pixels.shape, pixels.dtype))
    for strip in range(region.n_strips):
        np.testing.assert_array_equal(strips.read()[0], pixels[strip_box(plan, region, strip)])
    assert counting.n_read.max() > 1


def test_a_region_reads_what_lies_around_it():
    pixels = pixels_of((1, 300, 300, 1))
    counting = CountingSource(pixels)
    plan = plan_image(counting, nodes_per_megapixel=3000, block_zyx=(1, 64, 64))
    counting.n_read[...] = 0
    region = region_of(plan.blocks.basins.grid, (slice(None), slice(64, 192), slice(128, 192)))
    digests = BandDigests((*region.shape_zyx, 1), pixels.dtype)
    strips = StripReader(counting, plan, region, digests)
    for _ in range(region.n_strips):
        strips.read()
    _, y, x = plan.blocks.halo_zyx
    assert counting.n_read.sum() == (128 + 2 * y) * (64 + 2 * x)
    assert digests.hexdigest() == image_sha256(ArraySource(pixels[:, 64:192, 128:192]))
