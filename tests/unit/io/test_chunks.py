"""Zarr chunks are decoded once where rows of an image are read one after the other."""

from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from spixgraph.graph.stream import plan_image
from spixgraph.graph.stream.reader import StripReader, strip_box
from spixgraph.graph.stream.region import region_of
from spixgraph.io import _chunks
from spixgraph.io._zarr import ZarrSource
from spixgraph.io.images import ArraySource, BandDigests, open_image
from tests.unit.graph.stream.images import pixels_of


class CountingStore(LocalStore):
    """Counts how often each chunk is asked for."""

    asked: ClassVar[Counter[str]] = Counter()

    async def get(self, key, *args, **kwargs):
        if key.startswith("c/"):
            self.asked[key] += 1
        return await super().get(key, *args, **kwargs)


@pytest.fixture
def asked(monkeypatch):
    """Count the chunks of all Zarr images that are opened."""
    opened = zarr.open
    counter: Counter[str] = Counter()
    monkeypatch.setattr(CountingStore, "asked", counter)

    def counted(path, mode):
        return opened(CountingStore(path, read_only=True), mode=mode)

    monkeypatch.setattr(zarr, "open", counted)
    return counter


def write(path, pixels, chunks):
    zarr.create_array(path, data=pixels[..., 0], chunks=chunks)
    return path


@pytest.mark.parametrize(
    ("shape", "size", "block", "chunks"),
    [
        ((1, 330, 210, 1), None, (1, 64, 64), (1, 256, 100)),
        ((1, 330, 210, 1), None, (1, 64, 64), (1, 40, 50)),
        ((3, 200, 90, 1), (9.0, 1.0, 1.0), (1, 64, 64), (1, 128, 64)),
        ((3, 200, 90, 1), (9.0, 1.0, 1.0), (1, 64, 64), (3, 128, 64)),
        ((75, 90, 70, 1), (1.0, 1.0, 1.0), (16, 32, 16), (1, 64, 64)),
        ((75, 90, 70, 1), (1.0, 1.0, 1.0), (16, 32, 16), (20, 40, 70)),
    ],
)
def test_a_pass_decodes_each_chunk_once(tmp_path, asked, shape, size, block, chunks):
    pixels = pixels_of(shape)
    path = write(tmp_path / "i.zarr", pixels, chunks)
    plan = plan_image(ArraySource(pixels, size), nodes_per_megapixel=3000, block_zyx=block)
    region = region_of(plan.blocks.basins.grid, None)
    with open_image(path, axes="ZYX", pixel_size_um=size) as source:
        asked.clear()
        strips = StripReader(source, plan, region, BandDigests(shape, pixels.dtype))
        for strip in range(region.n_strips):
            np.testing.assert_array_equal(strips.read()[0], pixels[strip_box(plan, region, strip)])
    assert len(asked) == np.prod([-(-n // c) for n, c in zip(shape[:3], chunks, strict=True)])
    assert set(asked.values()) == {1}


def test_rows_too_large_to_be_kept_are_read_as_asked(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(_chunks, "_CACHE_BYTES", 1000)
    pixels = pixels_of((1, 100, 90, 1))
    with open_image(write(tmp_path / "i.zarr", pixels, (1, 50, 30)), axes="ZYX") as source:
        assert source.held_bytes == 1000
        for y in (3, 20):
            block = source.read(slice(0, 1), slice(y, y + 20), slice(40, 70))
            np.testing.assert_array_equal(block, pixels[:, y : y + 20, 40:70])
    assert asked == {"c/0/0/1": 2, "c/0/0/2": 2}


def test_no_more_is_kept_than_said(tmp_path):
    pixels = pixels_of((1, 300, 90, 1))
    with open_image(write(tmp_path / "i.zarr", pixels, (1, 50, 30)), axes="ZYX") as source:
        assert isinstance(source, ZarrSource)
        assert source.held_bytes == 2 * 50 * 90
        for y in range(0, 300, 25):
            source.read(slice(0, 1), slice(y, y + 25), slice(0, 90))
            kept = source._reader._rows.values()
            assert sum(row.nbytes for row in kept) <= source.held_bytes
