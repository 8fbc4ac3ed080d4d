import io

import numpy as np
import pytest
from PIL import Image

from spixgraph.io.images import ArraySource
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.decoder import BlockNodes, decode_probabilities
from spixgraph.predict.driver import Segmentation
from spixgraph.predict.outputs import Results
from spixgraph.predict.painting import outlines_of, uncertainty_of
from spixgraph.predict.whole import write_segmentation
from spixgraph.serve.jobs.tiles import display_limits, png_tile, results_in, write_view
from tests.toy_bundle import write_toy_bundle

SHAPE = (2, 530, 1040)


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 9, (2, 53, 104)).astype(np.int32)
    labels = coarse.repeat(10, 1).repeat(10, 2)
    logits = rng.normal(size=(9, 2)).astype(np.float32)
    shares = decode_probabilities(labels, BlockNodes(0, logits))
    mask = logits.argmax(1).astype(np.uint8)[labels]
    return Segmentation(mask, labels, logits, {}, shares)


def source_of(channels, shape=SHAPE):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, channels), np.uint8)
    return ArraySource(pixels)


def tile(folder, layer, *place, n_z=2):
    data = png_tile(folder, layer, place, n_z=n_z)
    return None if data is None else np.asarray(Image.open(io.BytesIO(data)))


def halved(pixels):
    return pixels.astype(float).reshape(len(pixels) // 2, 2, -1, 2, *pixels.shape[2:]).mean((1, 3))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_image_tiles_are_the_stretched_image(tmp_path, channels):
    source = source_of(channels)
    shares: list[float] = []
    write_view(tmp_path, source, shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]
    limits = display_limits(source)
    n = 3 if channels >= 3 else 1
    block = source.read(slice(1, 2), slice(None), slice(None))[0, ..., :n].astype(float)
    wanted = 255 * ((block - limits[:n, 0]) / (limits[:n, 1] - limits[:n, 0])).clip(0, 1)
    got = tile(tmp_path, "image", 0, 1, 1, 2).reshape(18, 16, n)
    np.testing.assert_allclose(got, wanted[512:, 1024:], atol=0.51)
    half = tile(tmp_path, "image", 1, 1, 0, 0).reshape(265, 512, n)
    np.testing.assert_allclose(half, halved(wanted)[:, :512], atol=1.1)


def test_data_tiles_hold_classes_outlines_and_uncertainty(tmp_path, made):
    card = load_bundle(write_toy_bundle(tmp_path / "bundle")).card
    write_segmentation(made, card, results_in(tmp_path, probabilities=False), None)
    got = tile(tmp_path, "data", 0, 1, 0, 1)
    place = slice(0, 512), slice(512, 1024)
    np.testing.assert_array_equal(got[..., 0], made.mask[1][place])
    np.testing.assert_array_equal(got[..., 1], outlines_of(made.labels)[1][place])
    np.testing.assert_array_equal(got[..., 2], uncertainty_of(made.shares)[1][place])
    half = tile(tmp_path, "data", 1, 1, 0, 1)
    assert half.shape == (265, 8, 3)
    lines = halved(outlines_of(made.labels)[1])[:, 512:]
    np.testing.assert_allclose(half[..., 1], lines, atol=0.51)


def test_outlines_are_between_superpixels(made):
    z, y, x = np.nonzero(outlines_of(made.labels))
    padded = np.pad(made.labels, ((0, 0), (0, 1), (0, 1)), mode="edge")
    here = padded[z, y, x]
    assert ((here != padded[z, y + 1, x]) | (here != padded[z, y, x + 1])).all()
    assert len(z) > 1000


@pytest.mark.parametrize("place", [(2, 0, 0, 0), (0, 2, 0, 0), (0, 0, 2, 0), (0, 0, 0, 3)])
def test_there_is_no_tile_beyond(tmp_path, place):
    write_view(tmp_path, source_of(1))
    assert tile(tmp_path, "image", *place) is None


def test_uncertainty_is_0_to_255():
    shares = np.array([[255, 85, 128], [0, 85, 127], [0, 85, 0]], np.uint8)
    np.testing.assert_array_equal(uncertainty_of(shares), [0, 255, 191])


def test_a_flat_image_is_black(tmp_path):
    write_view(tmp_path, ArraySource(np.full((1, 8, 8, 1), 7, np.uint8)))
    assert tile(tmp_path, "image", 0, 0, 0, 0, n_z=1).max() == 0


def test_the_image_is_read_once_and_nothing_else_is_left(tmp_path, monkeypatch):
    source = source_of(3)
    reads = []
    original = source.read

    def counted(*box):
        reads.append(box)
        return original(*box)

    monkeypatch.setattr(source, "read", counted)
    display_limits(source)
    sampled = len(reads)
    write_view(tmp_path, source)
    assert len(reads) - 2 * sampled == 4  # strips of two slices
    assert [path.name for path in tmp_path.iterdir()] == ["view.tif"]


def test_results_that_are_wanted_have_names(tmp_path):
    assert "probabilities" not in results_in(tmp_path, probabilities=False).names()
    assert Results(tmp_path / "m.png").names() == {"mask": "m.png"}
