import numpy as np
import pytest
from PIL import Image

from spixgraph.io.images import ArraySource
from spixgraph.predict.driver import Segmentation
from spixgraph.serve.jobs import tiles
from spixgraph.serve.jobs.tiles import (
    Levels,
    display_limits,
    tile_path,
    uncertainty,
    write_tiles,
)


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "TILE_PX", 8)


def made(shape=(2, 21, 30), channels=1):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, shape).astype(np.int32)
    logits = rng.normal(size=(9, 3)).astype(np.float32)
    found = Segmentation(logits.argmax(1).astype(np.uint8)[labels], labels, logits, {})
    return ArraySource(rng.integers(0, 256, (*shape, channels), np.uint8)), found


def pasted(folder, layer, level, z, shape_yx):
    n = tiles.TILE_PX
    first = np.asarray(Image.open(tile_path(folder, layer, level, z, 0, 0)))
    whole = np.zeros((*shape_yx, *first.shape[2:]), np.uint8)
    for y in range(-(-shape_yx[0] // n)):
        for x in range(-(-shape_yx[1] // n)):
            part = np.asarray(Image.open(tile_path(folder, layer, level, z, y, x)))
            whole[y * n : y * n + n, x * n : x * n + n] = part
    return whole


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((1, 512, 512), [(512, 512)]),
        ((1, 1, 1), [(1, 1)]),
        ((1, 513, 3), [(513, 3), (257, 2)]),
        ((1, 3000, 1000), [(3000, 1000), (1500, 500), (750, 250), (375, 125)]),
    ],
)
def test_levels_halve_until_one_tile(shape, sizes):
    levels = Levels(shape)
    assert [levels.size_yx(level) for level in range(levels.n)] == sizes
    assert levels.tiles_yx(levels.n - 1) == (1, 1)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_image_tiles_are_the_stretched_image(small_tiles, tmp_path, channels):
    source, found = made(channels=channels)
    write_tiles(tmp_path, source, found)
    limits = display_limits(source)
    n = 3 if channels >= 3 else 1
    block = source.read(slice(1, 2), slice(None), slice(None))[0, ..., :n].astype(float)
    wanted = 255 * ((block - limits[:n, 0]) / (limits[:n, 1] - limits[:n, 0])).clip(0, 1)
    got = pasted(tmp_path, "image", 0, 1, (21, 30)).reshape(21, 30, n)
    np.testing.assert_allclose(got, wanted, atol=0.51)
    half = pasted(tmp_path, "image", 1, 1, (11, 15)).reshape(11, 15, n).astype(float)
    mean = got[:20].reshape(10, 2, 15, 2, n).mean((1, 3))
    np.testing.assert_allclose(half[:10], mean, atol=1)


def test_data_tiles_hold_classes_outlines_and_uncertainty(small_tiles, tmp_path):
    source, found = made()
    write_tiles(tmp_path, source, found)
    got = pasted(tmp_path, "data", 0, 0, (21, 30))
    np.testing.assert_array_equal(got[..., 0], found.mask[0])
    np.testing.assert_array_equal(got[..., 2], uncertainty(found.logits)[found.labels[0]])
    labels = found.labels[0]
    border = np.zeros(labels.shape, bool)
    border[:-1] |= labels[:-1] != labels[1:]
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    np.testing.assert_array_equal(got[..., 1], 255 * border)
    np.testing.assert_array_equal(
        pasted(tmp_path, "data", 1, 0, (11, 15))[..., 0], found.mask[0, ::2, ::2]
    )


def test_uncertainty_is_0_to_255():
    logits = np.array([[50, 0, 0], [0, 0, 0], [1, 1, -50]], np.float32)
    np.testing.assert_array_equal(uncertainty(logits), [0, 255, 191])


def test_a_flat_image_is_black(small_tiles, tmp_path):
    _, found = made((1, 8, 8))
    write_tiles(tmp_path, ArraySource(np.full((1, 8, 8, 1), 7, np.uint8)), found)
    assert pasted(tmp_path, "image", 0, 0, (8, 8)).max() == 0


def test_every_block_of_the_image_is_read_once(small_tiles, tmp_path, monkeypatch):
    source, found = made()
    reads = []
    original = source.read

    def counted(*box):
        reads.append(box)
        return original(*box)

    monkeypatch.setattr(source, "read", counted)
    display_limits(source)
    sampled = len(reads)
    write_tiles(tmp_path, source, found)
    assert len(reads) - 2 * sampled == 2 * 3 * 4  # slices, rows, columns
