"""Phantoms are the same however they are cut, and not solved by a threshold."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spixgraph.errors import InputError
from spixgraph.files import sha256_tree
from spixgraph.io import phantoms
from spixgraph.io.dataset import load_dataset
from spixgraph.io.images import image_sha256, open_image
from spixgraph.io.masks import MaskSource, read_mask
from spixgraph.io.phantoms import (
    PHANTOM_CLASSES,
    PHANTOM_KINDS,
    make_phantom,
    write_phantom_dataset,
)

ALL = (slice(None),) * 3
SHAPES = {"colonies": (1, 300, 420), "nuclei3d": (14, 90, 110), "layers": (1, 300, 420)}
WHOLE: dict[str, Any] = {}


def whole(kind):
    if kind not in WHOLE:
        source = make_phantom(kind, SHAPES[kind], seed=5)
        WHOLE[kind] = source.read(*ALL), source.read_mask(*ALL)
    return WHOLE[kind]


@pytest.mark.parametrize("kind", PHANTOM_KINDS)
@settings(max_examples=25, deadline=None)  # the first example compiles
@given(data=st.data())
def test_a_block_is_part_of_the_whole(kind, data):
    image, mask = whole(kind)
    box = []
    for n in SHAPES[kind]:
        start = data.draw(st.integers(0, n - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, n))))
    source = make_phantom(kind, SHAPES[kind], seed=5)
    np.testing.assert_array_equal(source.read(*box), image[tuple(box)])
    np.testing.assert_array_equal(source.read_mask(*box), mask[tuple(box)])


@pytest.mark.parametrize("kind", PHANTOM_KINDS)
def test_a_larger_image_continues_a_smaller(kind):
    image, mask = whole(kind)
    z, y, x = SHAPES[kind]
    larger = make_phantom(kind, (z, y + 100, 10 * x), seed=5)
    box = (slice(0, z), slice(0, y), slice(0, x))
    np.testing.assert_array_equal(larger.read(*box), image)
    np.testing.assert_array_equal(larger.read_mask(*box), mask)


def test_far_blocks_of_a_gigapixel_are_alike():
    source = make_phantom("colonies", (1, 2**17, 2**17), seed=1)
    for start in (0, 2**16, 2**17 - 600):
        box = (slice(0, 1), slice(start, start + 600), slice(start, start + 600))
        assert 80 < source.read(*box).mean() < 160
        assert 0.02 < source.read_mask(*box).mean() < 0.5


@pytest.mark.parametrize("kind", PHANTOM_KINDS)
def test_seeds_differ_and_classes_are_there(kind):
    seen, counts = set(), np.zeros(256, int)
    shape = (20, 128, 128) if kind == "nuclei3d" else (1, 384, 384)
    for seed in range(6):
        source = make_phantom(kind, shape, seed=seed)
        seen.add(image_sha256(source))
        found = np.bincount(source.read_mask(*ALL).ravel(), minlength=256)
        assert (found > 0).sum() >= 2
        counts += found
    assert len(seen) == 6
    assert np.flatnonzero(counts).tolist() == list(range(len(PHANTOM_CLASSES[kind])))
    if kind == "layers":
        assert 0.001 < counts[4] / counts.sum() < 0.004  # thin cracks


def best_threshold_iou(image, target):
    """IoU of the best threshold that one could choose, looking at the answer."""
    inside, outside = (np.bincount(image[target == k], minlength=256) for k in (True, False))
    best = 0.0
    for order in (slice(None), slice(None, None, -1)):
        hits, false = np.cumsum(inside[order]), np.cumsum(outside[order])
        best = max(best, float((hits / (inside.sum() + false)).max()))
    return best


def test_a_threshold_does_not_solve_them():
    for kind, worst in (("colonies", 0.45), ("nuclei3d", 0.75)):
        image, mask = whole(kind)
        assert best_threshold_iou(image[..., 0], mask == 1) < worst
    image, mask = (a.reshape(-1) for a in whole("layers"))
    means = [image[mask == k].mean() for k in range(6)]
    assert abs(means[0] - means[1]) < 12  # told apart by texture
    assert abs(means[2] - means[3]) < 12


def test_nuclei_have_thick_slices_and_brightness_of_their_own():
    source = make_phantom("nuclei3d", SHAPES["nuclei3d"], seed=5)
    assert source.info.pixel_size_um == (0.3, 0.13, 0.13)
    image, mask = whole("nuclei3d")
    inside = image[..., 0][mask == 1]
    assert np.percentile(inside, 90) > 2 * np.percentile(inside, 10)


@pytest.mark.parametrize(
    ("kind", "shape", "seed", "message"),
    [
        ("cells", (1, 9, 9), 0, "'cells' is none of colonies, nuclei3d, layers"),
        ("colonies", (2, 9, 9), 0, "is 2D, but z is 2"),
        ("layers", (1, 0, 9), 0, "three numbers >= 1"),
        ("layers", (1, 9, 9), -1, "seed -1 must be 0"),
    ],
)
def test_bad_arguments(kind, shape, seed, message):
    with pytest.raises(InputError, match=message):
        make_phantom(kind, shape, seed=seed)


@pytest.mark.parametrize(("kind", "shape"), [("colonies", (1, 96, 128)), ("nuclei3d", (6, 60, 70))])
def test_a_written_data_set_is_sound_and_repeatable(tmp_path, kind, shape):
    hashes = set()
    for name in ("a", "b"):
        out = tmp_path / name
        write_phantom_dataset(out, kind=kind, n_images=5, shape_zyx=shape, seed=3)
        hashes.add(sha256_tree(out))
    assert len(hashes) == 1
    dataset, report = load_dataset(tmp_path / "a", class_names=PHANTOM_CLASSES[kind])
    assert report.rows[0].shape_zyxc == (*shape, 1)
    assert [len(dataset.split(s)) for s in ("train", "val", "test")] == [3, 1, 1]
    assert not [w for w in report.warnings if "pixel size" in w]


def test_large_images_are_written_tile_by_tile(tmp_path, monkeypatch):
    monkeypatch.setattr(phantoms, "_LARGEST_PNG_PX", 1000)
    sizes: list[int] = []
    shape = (1, 600, 1100)
    write_phantom_dataset(
        tmp_path / "a", kind="layers", n_images=3, shape_zyx=shape, seed=0, on_pixels=sizes.append
    )
    assert max(sizes) == 512 * 512
    assert sum(sizes) == 2 * 3 * 600 * 1100
    dataset = load_dataset(tmp_path / "a")[0]
    seeds = np.random.SeedSequence(0).generate_state(3) >> np.uint32(1)
    source = make_phantom("layers", shape, seed=int(seeds[1]))
    with open_image(dataset.items[1].image) as stored:
        assert image_sha256(stored) == image_sha256(source)
        assert stored.info.pixel_size_um == pytest.approx(source.info.pixel_size_um)
    np.testing.assert_array_equal(read_mask(dataset.items[1].mask), source.read_mask(*ALL))
    with MaskSource(dataset.items[1].mask) as mask:
        assert mask.info.shape_zyxc == (*shape, 1)


def test_nothing_is_overwritten_or_left_behind(tmp_path):
    with pytest.raises(InputError, match="exists; name a new folder"):
        write_phantom_dataset(tmp_path, kind="layers", n_images=3, shape_zyx=(1, 9, 9), seed=0)
    with pytest.raises(InputError, match="at least 3"):
        write_phantom_dataset(
            tmp_path / "a", kind="layers", n_images=2, shape_zyx=(1, 9, 9), seed=0
        )

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom_dataset(
            tmp_path / "a", kind="layers", n_images=3, shape_zyx=(1, 9, 9), seed=0, on_pixels=stop
        )
    assert not list(tmp_path.iterdir())
