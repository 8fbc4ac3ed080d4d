import numpy as np
import pytest

from spixgraph.arrays import NOT_ANNOTATED, ShapeZYX
from spixgraph.errors import InputError
from spixgraph.train import patches
from spixgraph.train.patches import AnnotatedImage, PatchSampler


def item(shape: ShapeZYX, *, seed: int = 0) -> AnnotatedImage:
    """An image that shows its own mask: intensity 0.1 times the class."""
    mask = np.random.default_rng(seed).integers(0, 5, shape).astype(np.uint8)
    return AnnotatedImage((0.1 * mask[..., None]).astype(np.float32), mask)


@pytest.mark.parametrize(
    ("shape", "patch"), [((1, 40, 50), (1, 32, 32)), ((6, 20, 30), (4, 16, 8))]
)
def test_image_and_mask_stay_together(
    shape: ShapeZYX, patch: ShapeZYX, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, "SHARE", 0.0)
    sampler = PatchSampler([item(shape), item(shape, seed=1)], patch)
    images, masks = sampler.batch(8, np.random.default_rng(0))
    assert images.shape == (8, 1, *patch)
    assert images.dtype == np.float32
    assert masks.shape == (8, *patch)
    for image, mask in zip(images[:, 0], masks, strict=True):
        slope, offset = np.polyfit(mask.ravel(), image.ravel(), 1)  # brightness and contrast
        np.testing.assert_allclose(image, slope * mask + offset, atol=1e-5)
        assert 0.1 / 1.25 - 1e-4 <= slope <= 0.1 * 1.25 + 1e-4


@pytest.mark.parametrize("patch", [(1, 32, 32), (4, 16, 8)])
def test_zoom_gamma_and_noise_leave_the_mask_on_the_objects(
    patch: ShapeZYX, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half plane keeps its two levels on their sides, whatever is done to the patch."""
    monkeypatch.setattr(patches, "SHARE", 1.0)
    mask = np.zeros((6, 60, 60), np.uint8)[: max(1, patch[0])]
    mask[:, 30:] = 1
    sampler = PatchSampler([AnnotatedImage(mask[..., None].astype(np.float32) * 4, mask)], patch)
    images, masks = sampler.batch(40, np.random.default_rng(0))
    agreement = [
        np.mean((i > (i.max() + i.min()) / 2) == (m == 1))
        for i, m in zip(images[:, 0], masks, strict=True)
        if 0 < m.mean() < 1
    ]
    assert len(agreement) > 10
    assert min(agreement) > 0.9  # the border is a pixel or two off where it was interpolated
    assert images.dtype == np.float32
    assert masks.shape == (40, *patch)


def test_a_zoom_is_a_zoom() -> None:
    ramp = np.arange(16, dtype=np.float32).reshape(1, 1, 16, 1).repeat(8, 1)
    image, mask = patches._resized(ramp, ramp[..., 0].astype(np.uint8), (1, 16, 32))
    assert image.shape == (1, 16, 32, 1)
    np.testing.assert_allclose(image[0, 0, 1:-1, 0], np.arange(1, 31) / 2 - 0.25, atol=1e-5)
    assert mask[0, 0].tolist() == np.arange(16).repeat(2).tolist()


def test_patches_differ_and_follow_the_generator() -> None:
    sampler = PatchSampler([item((1, 64, 64))], (1, 32, 32))
    one, _ = sampler.batch(4, np.random.default_rng(0))
    same, _ = sampler.batch(4, np.random.default_rng(0))
    other, _ = sampler.batch(4, np.random.default_rng(1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(np.unique(one.reshape(4, -1), axis=0)) == 4


def test_every_patch_is_annotated_and_rare_classes_are_seen() -> None:
    mask = np.full((1, 300, 300), NOT_ANNOTATED, np.uint8)
    mask[0, 100:200, 100:200] = 0
    mask[0, 150, 150] = 1  # one pixel in 90,000
    sampler = PatchSampler(
        [AnnotatedImage(np.zeros((1, 300, 300, 1), np.float32), mask)], (1, 8, 8)
    )
    _, masks = sampler.batch(200, np.random.default_rng(0))
    assert all((m != NOT_ANNOTATED).any() for m in masks)
    assert np.mean([(m == 1).any() for m in masks]) > 0.1


def test_small_images_are_continued_without_annotation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "SHARE", 0.0)
    small = item((1, 10, 40))
    _, masks = PatchSampler([small], (1, 16, 16)).batch(20, np.random.default_rng(0))
    assert ((masks != NOT_ANNOTATED).sum((1, 2, 3)) == 160).all()


def test_images_without_annotation_are_left_out() -> None:
    blank = AnnotatedImage(
        np.ones((1, 32, 32, 1), np.float32), np.full((1, 32, 32), NOT_ANNOTATED, np.uint8)
    )
    _, masks = PatchSampler([blank, item((1, 32, 32))], (1, 32, 32)).batch(
        10, np.random.default_rng(0)
    )
    assert (masks != NOT_ANNOTATED).all()


def test_masks_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="mask must be"):
        AnnotatedImage(np.zeros((1, 4, 4, 1), np.float32), np.zeros((1, 4, 5), np.uint8))
