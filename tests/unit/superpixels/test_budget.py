import numpy as np
import pytest

from spixgraph.superpixels.budget import LIMITS_2D, nodes_per_megapixel_for


def _disks(radius_px: float, pitch_px: int) -> np.ndarray:
    y, x = np.mgrid[:480, :480] % pitch_px - pitch_px // 2
    return (np.hypot(y, x) < radius_px).astype(np.uint8)[None]


def test_disks_get_superpixels_of_a_quarter_of_their_diameter() -> None:
    budget = nodes_per_megapixel_for([_disks(48, 160)], is_volume=False)
    assert 1e6 / budget == pytest.approx((96 / 4) ** 2, rel=0.1)


def test_volume_counts_cubes() -> None:
    stack = np.repeat(_disks(15, 48), 4, axis=0)
    budget = nodes_per_megapixel_for([stack], is_volume=True)
    assert 1e6 / budget == pytest.approx((30 / 4) ** 3, rel=0.15)


def test_smaller_objects_get_more_up_to_the_limit() -> None:
    sizes = [nodes_per_megapixel_for([_disks(r, 4 * r)], is_volume=False) for r in (60, 30, 20, 3)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == LIMITS_2D[1]


def test_without_a_border_the_lower_limit() -> None:
    flat = np.ones((1, 64, 64), np.uint8)
    assert nodes_per_megapixel_for([flat], is_volume=False) == LIMITS_2D[0]


def test_border_of_the_annotation_does_not_count() -> None:
    mask = np.full((1, 200, 200), 255, np.uint8)
    mask[0, 50:60, 50:60] = 1
    assert nodes_per_megapixel_for([mask], is_volume=False) == LIMITS_2D[0]
