import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from spixgraph.graph.filters import Scale, eigenvalues, halve, slice_step
from spixgraph.graph.maps import FINEST_PX, boundary_gradient, feature_maps


@pytest.mark.parametrize(
    ("n_slices", "pixel_size_um", "step"),
    [
        (1, (1.0, 1.0, 1.0), None),
        (9, None, None),
        (9, (0.5, 0.2, 0.2), 2.5),
        (9, (1.0, 0.2, 0.2), None),
        (9, (0.3, 0.2, 0.45), 1.0),
    ],
)
def test_slices_stand_on_their_own_if_far_or_unknown(n_slices, pixel_size_um, step):
    assert slice_step(n_slices, pixel_size_um) == (None if step is None else pytest.approx(step))


@pytest.mark.parametrize(
    ("width", "z_step", "halvings"),
    [
        (0.8, None, (0, 0, 0)),
        (1.6, 1.0, (0, 0, 0)),
        (3.2, None, (0, 1, 1)),
        (12.8, 1.0, (3, 3, 3)),
        (6.4, 2.5, (0, 2, 2)),
        (12.8, 2.5, (1, 3, 3)),
    ],
)
def test_halvings_leave_every_width_resolved(width, z_step, halvings):
    assert Scale(width, z_step).halvings() == halvings


def test_halving_averages_pairs_and_repeats_an_odd_end():
    values = np.array([[[1.0, 3.0, 5.0], [3.0, 5.0, 9.0]]], np.float32)
    assert halve(values, (0, 1, 1)).tolist() == [[[3.0, 7.0]]]
    assert halve(values, (0, 0, 1)).tolist() == [[[2.0, 5.0], [4.0, 9.0]]]
    assert halve(values, (3, 0, 0)).tolist() == values.tolist()
    assert halve(values, (0, 3, 3)).tolist() == [[[5.0]]]


@pytest.mark.parametrize("width", [3.2, 6.4, 12.8])
def test_a_halved_scale_looks_like_the_wide_filter(width):
    rng = np.random.default_rng(0)
    image = gaussian_filter(rng.normal(size=(1, 128, 160)), (0, 2, 2)).astype(np.float32)
    scale = Scale(width, None)
    coarse = scale.smooth(halve(image, scale.halvings()))[0]
    y, x = ((np.arange(n) + 0.5) / 2 ** scale.halvings()[1] - 0.5 for n in image.shape[1:])
    fine = map_coordinates(coarse, np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
    wide = gaussian_filter(image[0], width)
    assert coarse.size < wide.size
    assert np.abs(fine - wide).max() < 0.3 * wide.std()
    assert (fine - wide).std() < 0.08 * wide.std()


def test_derivatives_are_of_the_whole_image_times_the_width():
    y, x = np.mgrid[:64, :64].astype(np.float32)
    for width in (0.8, 1.6, 3.2):
        scale = Scale(width, None)
        coarse = scale.smooth(halve((0.5 * x + 0.01 * y * y)[None], scale.halvings()))
        middle = (0, *(n // 2 for n in coarse.shape[1:]))
        assert scale.first(coarse, 2)[middle] == pytest.approx(0.5 * width, rel=1e-3)
        assert scale.second(coarse, 1)[middle] == pytest.approx(0.02 * width**2, rel=1e-2)
        assert not scale.first(coarse, 0).any()


def test_z_counts_in_units_of_the_plane():
    volume = np.broadcast_to(np.arange(20, dtype=np.float32)[:, None, None], (20, 16, 16))
    far = boundary_gradient(volume[..., None].copy(), 2.0)[10, 8, 8]
    near = boundary_gradient(volume[..., None].copy(), 1.0)[10, 8, 8]
    alone = boundary_gradient(volume[..., None].copy(), None)[10, 8, 8]
    assert (near, far, alone) == pytest.approx((FINEST_PX, FINEST_PX / 2, 0))


def test_eigenvalues_match_numpy():
    yy, yx, xx = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    matrices = np.stack([np.stack([yy, yx]), np.stack([yx, xx])]).transpose(2, 0, 1)
    low, high = eigenvalues(yy, yx, xx)
    np.testing.assert_allclose(np.stack([low, high], 1), np.linalg.eigvalsh(matrices), atol=1e-5)


def all_maps(image, n_scales=4, z_step=None):
    return dict(feature_maps(image, n_scales=n_scales, z_step=z_step))


def test_names_of_the_maps():
    names = list(all_maps(np.zeros((1, 8, 8, 2), np.float32), n_scales=5))
    assert len(names) == len(set(names)) == 2 + 4 * 2 + 5 * 3 + 3 * 4
    assert names[:5] == ["c0_intensity", "c1_intensity", "gradient_0", "laplacian_0", "deviation_0"]
    assert [n for n in names if "hessian_low" in n] == [f"hessian_low_{k}" for k in (1, 2, 3)]
    volume = np.zeros((6, 8, 8, 2), np.float32)
    assert list(all_maps(volume, 5, 1.0)) == list(all_maps(volume, 5, None)) == names


def test_maps_know_a_line_from_a_blob_and_from_texture():
    line, blob, noise = np.zeros((3, 1, 64, 64, 1), np.float32)
    line[:, 32] = 1
    blob[:, 31:34, 31:34] = 1
    noise[0, ..., 0] = np.random.default_rng(0).uniform(size=(64, 64))
    at = (0, 32, 32)
    maps_line, maps_blob, maps_noise = map(all_maps, (line, blob, noise))
    assert abs(maps_line["hessian_high_1"][at]) < 0.01 < -maps_line["hessian_low_1"][at]
    assert maps_blob["hessian_high_1"][at] < -0.05
    assert maps_line["structure_low_1"][at] < 0.1 * maps_line["structure_high_1"][at]
    ratio = maps_noise["structure_low_3"] / maps_noise["structure_high_3"]
    assert ratio.mean() > 0.6
    np.testing.assert_allclose(maps_noise["deviation_3"].mean(), noise.std(), rtol=0.1)


@pytest.mark.parametrize("n_channels", [1, 2])
def test_deviation_is_that_of_a_gaussian_window(n_channels):
    image = np.random.default_rng(0).uniform(size=(1, 40, 50, n_channels)).astype(np.float32)
    grey = image[0].mean(-1, dtype=np.float64)
    width = 1.5 * 1.6
    mean = gaussian_filter(grey, width)
    wanted = np.sqrt(gaussian_filter(grey**2, width) - mean**2)
    np.testing.assert_allclose(all_maps(image)["deviation_1"][0], wanted, atol=2e-3)


def test_channels_that_cancel_still_have_a_gradient():
    image = np.zeros((1, 30, 30, 2), np.float32)
    image[:, :, 15:, 0] = 1
    image[:, :, :15, 1] = 1
    assert all_maps(image)["gradient_1"].max() < 1e-6
    assert all_maps(image)["structure_high_1"].max() > 0.1
    assert boundary_gradient(image, None).max() > 0.1
