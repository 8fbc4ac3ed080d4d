from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import label as connected

from spixgraph.errors import InputError
from spixgraph.superpixels.slic import slic_labels

SETTINGS: dict[str, Any] = {"compactness": 0.15, "sigma_px": 1.0, "max_iterations": 5}


def smooth_noise(shape, seed=0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    image = gaussian_filter(noise, (0 if shape[0] == 1 else 1.5, 3, 3, 0))
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


def assert_dense(labels: np.ndarray, shape: tuple[int, ...]) -> None:
    assert labels.shape == shape[:3]
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))


@pytest.mark.parametrize("shape", [(1, 90, 120, 1), (1, 90, 120, 3), (12, 40, 40, 2)])
def test_labels_are_dense_connected_deterministic_and_about_as_many(shape):
    image = smooth_noise(shape)
    labels = slic_labels(image, n_segments=80, **SETTINGS)
    assert_dense(labels, shape)
    assert 40 <= labels.max() + 1 <= 120
    assert all(connected(labels == i)[1] == 1 for i in range(labels.max() + 1))
    np.testing.assert_array_equal(labels, slic_labels(image, n_segments=80, **SETTINGS))


def test_a_hot_pixel_does_not_change_the_meaning_of_compactness():
    image = smooth_noise((1, 128, 128, 1))
    hot = image.copy()
    hot[0, 5, 5] = 1000.0
    kept = slic_labels(image, n_segments=64, **SETTINGS)[0, 40:, 40:]
    with_hot = slic_labels(hot, n_segments=64, **SETTINGS)[0, 40:, 40:]
    pairs = len(np.unique(np.stack([kept.ravel(), with_hot.ravel()]), axis=1).T)
    assert pairs <= 1.3 * len(np.unique(kept))


def test_superpixels_follow_a_step():
    image = np.zeros((1, 60, 60, 1), np.float32)
    image[:, :, 31:] = 1
    labels = slic_labels(image, n_segments=36, compactness=0.1, sigma_px=0, max_iterations=10)
    assert not set(np.unique(labels[..., :31])) & set(np.unique(labels[..., 31:]))


def test_only_the_ratio_of_spacings_counts():
    image = smooth_noise((10, 40, 40, 1))
    pixels = slic_labels(image, n_segments=60, spacing_zyx=(2.5, 1, 1), **SETTINGS)
    microns = slic_labels(image, n_segments=60, spacing_zyx=(0.5, 0.2, 0.2), **SETTINGS)
    np.testing.assert_array_equal(pixels, microns)
    assert (pixels != slic_labels(image, n_segments=60, **SETTINGS)).any()


def test_z_spacing_means_nothing_in_2d():
    image = smooth_noise((1, 50, 50, 1))
    np.testing.assert_array_equal(
        slic_labels(image, n_segments=20, spacing_zyx=(0.1, 1, 1), **SETTINGS),
        slic_labels(image, n_segments=20, **SETTINGS),
    )


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 9, 2), (1, 40, 40, 1), (4, 9, 9, 1)])
@pytest.mark.parametrize("n_segments", [1, 5, 10_000])
def test_constant_and_tiny_images(shape, n_segments):
    labels = slic_labels(np.full(shape, 0.5, np.float32), n_segments=n_segments, **SETTINGS)
    assert_dense(labels, shape)


@pytest.mark.parametrize(
    "change",
    [
        {"n_segments": 0},
        {"compactness": 0.0},
        {"compactness": float("nan")},
        {"sigma_px": -1.0},
        {"max_iterations": 0},
        {"spacing_zyx": (1, 1)},
        {"spacing_zyx": (0, 1, 1)},
        {"image": np.zeros((5, 5), np.float32)},
        {"image": np.full((1, 5, 5, 1), np.nan, np.float32)},
    ],
)
def test_bad_input_is_refused(change):
    image = np.zeros((1, 5, 5, 1), np.float32)
    with pytest.raises(InputError):
        slic_labels(**({"image": image, "n_segments": 5} | SETTINGS | change))
