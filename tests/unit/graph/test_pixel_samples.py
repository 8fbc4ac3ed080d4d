from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import sha256_tree
from spixgraph.graph.pixel_samples import (
    PixelSamples,
    join_samples,
    load_samples,
    place_names,
    sample_pixels,
    save_samples,
)

MAPS = ("c0_intensity", "index")
SHAPE = (3, 12, 16)


def scene(seed: int = 0, *, annotated: float = 0.7) -> dict[str, np.ndarray]:
    """Six superpixels in stripes; the second map numbers the pixels."""
    rng = np.random.default_rng(seed)
    labels = np.broadcast_to(np.arange(SHAPE[2]) // 3, SHAPE).astype(np.int32)
    number = np.arange(labels.size, dtype=np.float32).reshape(SHAPE)
    mask = rng.integers(0, 3, SHAPE).astype(np.uint8)
    mask[rng.random(SHAPE) > annotated] = 255
    places = np.indices(SHAPE).reshape(3, -1)
    n_pixels = np.bincount(labels.ravel())
    centroid = np.stack([np.bincount(labels.ravel(), p) for p in places], 1) / n_pixels[:, None]
    return {
        "labels": labels,
        "maps": np.stack([rng.random(SHAPE, np.float32), number]),
        "centroid_px": centroid,
        "n_pixels": n_pixels,
        "mask": mask,
    }


def sample(arrays: dict[str, np.ndarray], **change: object) -> PixelSamples:
    return sample_pixels(**{**arrays, "map_names": MAPS, "is_volume": True, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("is_volume", [True, False])
def test_samples_are_annotated_pixels_of_their_superpixel(is_volume: bool) -> None:
    """Slow twin: find each sample by its number, and describe it again."""
    arrays = scene()
    samples = sample(arrays, is_volume=is_volume, per_node=7)
    assert samples.names == (*MAPS, *place_names(is_volume=is_volume))
    for node in range(samples.n_regions):
        for row, cls in zip(samples.values[node].astype(float), samples.classes[node], strict=True):
            z, y, x = np.unravel_index(int(row[1]), SHAPE)
            assert arrays["labels"][z, y, x] == node
            assert arrays["mask"][z, y, x] == cls != 255
            size = arrays["n_pixels"][node] ** (1 / 3 if is_volume else 1 / 2)
            oz, oy, ox = (np.array([z, y, x]) - arrays["centroid_px"][node]) / size
            wanted = [arrays["maps"][0, z, y, x], row[1], oy, ox, oy * oy, oy * ox, ox * ox]
            wanted += [oz, oz * oz, oz * oy, oz * ox] if is_volume else []
            np.testing.assert_allclose(row, wanted, atol=5e-3)


def test_samples_are_spread_over_the_superpixel() -> None:
    arrays = scene(annotated=2.0)
    samples = sample(arrays, per_node=8)
    for node in range(samples.n_regions):
        pixels = np.flatnonzero(arrays["labels"].ravel() == node)
        rank = np.searchsorted(pixels, samples.values[node, :, 1])
        assert (rank * 8 // len(pixels)).tolist() == list(range(8))


def test_few_pixels_are_repeated_and_none_is_left_out() -> None:
    arrays = scene()
    arrays["mask"][:] = 255
    arrays["mask"][0, 0, :2] = 1, 2
    samples = sample(arrays, per_node=6)
    assert samples.classes[0].tolist() == [1, 1, 1, 2, 2, 2]
    assert (samples.classes[1:] == 255).all()
    assert not samples.values[1:].any()


@given(seed=st.integers(0, 99), cut=st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_blocks_give_what_the_image_gives(seed: int, cut: int) -> None:
    """Cut between superpixels, blocks of one image are sampled alike on their own."""
    arrays, x = scene(seed), 3 * cut
    parts = [
        sample(
            {
                "labels": arrays["labels"][..., columns] - first,
                "maps": arrays["maps"][..., columns],
                "centroid_px": arrays["centroid_px"][nodes],
                "n_pixels": arrays["n_pixels"][nodes],
                "mask": arrays["mask"][..., columns],
            },
            origin_zyx=(0, 0, columns.start or 0),
        )
        for columns, nodes, first in (
            (slice(0, x), slice(0, cut), 0),
            (slice(x, None), slice(cut, None), cut),
        )
    ]
    whole, joined = sample(arrays), join_samples(parts)
    np.testing.assert_array_equal(joined.values, whole.values)
    np.testing.assert_array_equal(joined.classes, whole.classes)


def test_samples_come_back_from_disk(tmp_path: Path) -> None:
    samples = sample(scene())
    save_samples(samples, tmp_path / "a")
    save_samples(load_samples(tmp_path / "a"), tmp_path / "b")
    assert sha256_tree(tmp_path / "a") == sha256_tree(tmp_path / "b")
    back = load_samples(tmp_path / "b")
    assert back.names == samples.names
    np.testing.assert_array_equal(back.values, samples.values)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    arrays = scene()
    with pytest.raises(InputError, match="Z, Y, X"):
        sample(arrays, maps=arrays["maps"][:1])
    with pytest.raises(InputError, match="per_node"):
        sample(arrays, per_node=0)
    with pytest.raises(InputError, match=r"0\.\.4"):
        sample(arrays, n_pixels=arrays["n_pixels"][:5], centroid_px=arrays["centroid_px"][:5])
    with pytest.raises(InputError, match="float16"):
        PixelSamples(("a",), np.zeros((1, 2, 1), np.float32), np.zeros((1, 2), np.uint8))
    with pytest.raises(InputError, match="columns"):
        join_samples([])
    with pytest.raises(InputError, match="does not exist"):
        load_samples(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(StoredDataError, match="make the graph again"):
        load_samples(tmp_path / "b")
