import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import label as connected

from spixgraph.errors import InputError
from spixgraph.io.dataset import read_dataset
from spixgraph.io.images import open_image
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.superpixels.basins import basin_labels
from spixgraph.superpixels.basins.grid import BarrierGrid, BasinPlan, barrier_grid
from spixgraph.superpixels.basins.image import label_blocks
from spixgraph.superpixels.basins.levels import ImageLevels, to_levels
from spixgraph.superpixels.basins.plan import make_plan
from tests.real_data import real_data


def smooth_noise(shape, seed=0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    image = gaussian_filter(noise, (0 if shape[0] == 1 else 1.5, 3, 3, 0))
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "spacing", "nodes"),
    [
        ((1, 301, 533, 1), None, 2000),
        ((1, 301, 533, 3), None, 5000),
        ((3, 90, 120, 2), (4.0, 1.0, 1.0), 3000),
        ((66, 40, 70, 1), (1.0, 1.0, 1.0), 1000),
    ],
)
def test_labels_are_dense_connected_deterministic_and_as_many_as_wanted(shape, spacing, nodes):
    image = smooth_noise(shape)
    labels = basin_labels(image, nodes_per_megapixel=nodes, spacing_zyx=spacing)
    n = labels.max() + 1
    assert labels.shape == shape[:3]
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(np.unique(labels), np.arange(n))
    assert n == pytest.approx(nodes * labels.size / 1e6, rel=0.1)
    touching = np.ones((3, 3, 3))
    assert all(connected(labels == i, touching)[1] == 1 for i in range(0, n, 1 + n // 40))
    again = basin_labels(image, nodes_per_megapixel=nodes, spacing_zyx=spacing, workers=3)
    np.testing.assert_array_equal(labels, again)


def test_ids_rise_with_blocks_and_none_crosses_a_barrier():
    labels = basin_labels(smooth_noise((1, 300, 600, 1)), nodes_per_megapixel=6000)[0]
    last = -1
    for y in range(0, 300, 256):
        for x in range(0, 600, 256):
            block = np.unique(labels[y : y + 256, x : x + 256])
            np.testing.assert_array_equal(block, np.arange(last + 1, block[-1] + 1))
            last = block[-1]


def test_slices_far_apart_are_cut_one_by_one():
    image = smooth_noise((3, 60, 60, 1))
    labels = basin_labels(image, nodes_per_megapixel=5000, spacing_zyx=(3.1, 1, 1))
    assert all(not np.isin(labels[z], labels[z + 1]).any() for z in range(2))
    reaching = basin_labels(image, nodes_per_megapixel=5000, spacing_zyx=(3, 1, 1))
    assert np.isin(reaching[0], reaching[1]).any()


def test_a_region_of_interest_is_a_part_of_the_whole():
    image = smooth_noise((1, 517, 700, 2))
    source = ImageLevels(image)
    plan = make_plan(source, nodes_per_megapixel=5000)
    assert plan.grid.n_blocks_zyx == (1, 3, 3)
    whole = basin_labels(image, nodes_per_megapixel=5000)[0, 256:, 256:512]
    roi = np.empty_like(whole)
    first = 0
    for number, (labels, n) in zip([4, 7], label_blocks(source, plan, [4, 7]), strict=True):
        _, y, x = plan.grid.box(number)
        roi[y.start - 256 : y.stop - 256, x.start - 256 : x.stop - 256] = labels[0] + first
        first += n
    np.testing.assert_array_equal(np.unique(whole, return_inverse=True)[1], roi)


def test_flat_images_have_few_superpixels_and_tiny_ones_at_least_one():
    flat = basin_labels(np.full((1, 600, 600, 1), 0.5, np.float32), nodes_per_megapixel=8000)
    np.testing.assert_array_equal(flat.max() + 1, 9)  # one per block of 256 px
    tiny = basin_labels(np.ones((1, 1, 1, 2), np.float32), nodes_per_megapixel=1)
    np.testing.assert_array_equal(tiny, [[[0]]])


def test_a_noisy_channel_is_weighed_down():
    rng = np.random.default_rng(0)
    clean = smooth_noise((1, 200, 200, 1)) + rng.normal(0, 0.01, (1, 200, 200, 1))
    image = np.concatenate([clean, rng.random(clean.shape)], axis=-1).clip(0, 1)
    plan = make_plan(ImageLevels(image.astype(np.float32)), nodes_per_megapixel=1000)
    assert plan.channel_weights[0] == 1
    assert plan.channel_weights[1] == 1 / 8
    alike = np.concatenate([clean, clean], axis=-1).clip(0, 1).astype(np.float32)
    assert make_plan(ImageLevels(alike), nodes_per_megapixel=1000).channel_weights == (1, 1)


def test_the_plan_does_not_depend_on_workers():
    source = ImageLevels(smooth_noise((1, 600, 600, 2)))
    plans = {make_plan(source, nodes_per_megapixel=3000, workers=w) for w in (1, 2, 4)}
    assert len(plans) == 1


def test_levels_are_rounded_and_clipped():
    image = np.array([-1, 0, 0.5, 1, 2], np.float32).reshape(1, 1, 5, 1)
    np.testing.assert_array_equal(to_levels(image).ravel(), [0, 0, 16384, 32767, 32767])


def test_the_grid_follows_spacing_and_budget():
    assert barrier_grid((1, 9, 9), (1, 1, 1), 1000).block_zyx == (1, 512, 512)
    assert barrier_grid((1, 9, 9), None, 4000).block_zyx == (1, 256, 256)
    assert barrier_grid((9, 9, 9), None, 1000).block_zyx == (1, 512, 512)
    assert barrier_grid((9, 9, 9), (2.9, 1, 1), 1000).block_zyx == (64, 64, 64)
    assert not barrier_grid((9, 9, 9), (3.1, 1, 1), 1000).is_volume


def test_blocks_within_a_box_are_those_that_start_there():
    grid = BarrierGrid((2, 10, 10), (1, 4, 4), is_volume=False)
    assert grid.within((slice(0, 2), slice(0, 10), slice(0, 10))) == list(range(18))
    assert grid.within((slice(1, 2), slice(4, 8), slice(3, 9))) == [13, 14]
    assert [grid.size(n) for n in (0, 2, 17)] == [(1, 4, 4), (1, 4, 2), (1, 2, 2)]


def test_small_blocks_round_gradients_less_and_volumes_not_at_all():
    sizes = (1, 512, 512), (1, 256, 256), (64, 64, 64)
    grids = [BarrierGrid((9, 9, 9), size, is_volume=size[0] > 1) for size in sizes]
    assert [BasinPlan(grid, (1.0,), 0.0).flatness for grid in grids] == [0.4, 0.2, 0]


def test_superpixels_of_smooth_images_are_compact_and_those_of_rough_ones_are_not():
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.random((5, 5)), np.ones((40, 40)))[None, ..., None].astype(np.float32)
    noise = rng.random(coarse.shape).astype(np.float32)
    plans = [
        make_plan(ImageLevels(image), nodes_per_megapixel=1000)
        for image in (coarse, 0.5 * coarse + 0.5 * noise, noise, np.zeros_like(coarse))
    ]
    smooth, grainy, rough, flat = (plan.compactness for plan in plans)
    assert 2 >= smooth > grainy > rough > 0
    assert rough < 0.1
    assert flat == 0
    finer = [
        make_plan(ImageLevels(coarse), nodes_per_megapixel=nodes).compactness
        for nodes in (1250, 1500, 5000)
    ]
    assert finer == [pytest.approx(smooth / 2, abs=1e-3), 0, 0]


def test_bad_arguments_are_refused():
    image = smooth_noise((1, 9, 9, 1))
    with pytest.raises(InputError, match="float32"):
        basin_labels(image.astype(np.float64), nodes_per_megapixel=1000)
    with pytest.raises(InputError, match="nodes_per_megapixel=0"):
        basin_labels(image, nodes_per_megapixel=0)
    with pytest.raises(InputError, match="workers=0"):
        basin_labels(image, nodes_per_megapixel=10, workers=0)
    grid = BarrierGrid((1, 9, 9), (1, 4, 4), is_volume=False)
    with pytest.raises(InputError, match="workers must be >= 1"):
        next(label_blocks(ImageLevels(image), BasinPlan(grid, (1.0,), 0.0), [0], workers=0))
    with pytest.raises(InputError, match="too large"):
        BarrierGrid((1, 9, 9), (1, 513, 512), is_volume=False)
    with pytest.raises(InputError, match=">= 1"):
        BarrierGrid((0, 9, 9), (1, 4, 4), is_volume=False)


SETS = [
    "usiigaci_phase", "nist_hesc_colonies", "axon_sem", "axon_tem", "nasa_meltpool_strips",
    "dsb2018", "pyimsegm_ovary", "plantseg_nuclei3d", "flyem_medulla3d",
]  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_real_images_get_the_wanted_number_within_ten_per_cent(name):
    for item in read_dataset(real_data(name)).split("test")[:12]:
        with open_image(item.image, pixel_size_um=item.pixel_size_um) as source:
            everything = (slice(None), slice(None), slice(0, 2000))
            image = read_scaled(source, intensity_limits(source), *everything)
            spacing = source.info.spacing_zyx
        for nodes in (1000, 2500, 8000):
            labels = basin_labels(image, nodes_per_megapixel=nodes, spacing_zyx=spacing, workers=2)
            wanted = nodes * labels.size / 1e6
            assert labels.max() + 1 == pytest.approx(wanted, rel=0.1, abs=1)


@pytest.mark.parametrize(("size", "edge"), [(3000, 700), (4200, 900)])
def test_a_part_of_a_large_uneven_image_stands_for_all_of_it(size, edge):
    """Patches of texture of other scale and strength, and of nothing, larger than the parts."""
    rng = np.random.default_rng(size)
    tile = smooth_noise((1, edge, edge, 1))[0, :, :, 0]
    image = np.empty((1, size, size, 1), np.float32)
    for y in range(0, size, edge):
        for x in range(0, size, edge):
            place = image[0, y : y + edge, x : x + edge, 0]
            scale, strength = rng.integers(1, 4), rng.choice([0, 0.3, 0.6, 0.9])
            texture = np.kron(tile, np.ones((scale, scale), np.float32))
            place[...] = 0.1 + strength * texture[: place.shape[0], : place.shape[1]]
    labels = basin_labels(image, nodes_per_megapixel=1500, workers=2)
    assert labels.max() + 1 == pytest.approx(1500 * labels.size / 1e6, rel=0.1)


def test_kernels_compile_where_nothing_can_be_written(tmp_path):
    code = """
import numba.core.caching as caching
def refuse(*args, **kwargs): raise RuntimeError("cannot cache function: no locator available")
caching.CacheImpl.__init__ = refuse
from spixgraph.superpixels.basins.jit import kernel
assert kernel(lambda x: x + 1)(1) == 2
"""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_the_first_run_says_that_it_compiles(tmp_path):
    code = """
import logging, numpy as np
logging.basicConfig(level=logging.INFO, format="%(message)s")
from spixgraph.superpixels.basins.jit import announce, kernel
from spixgraph.superpixels.basins.merging import number_labels
announce(number_labels)
number_labels(np.zeros(3, np.uint16), np.zeros(3, np.int32))
announce(number_labels)
"""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", code], check=True, env=env, capture_output=True, text=True
        ).stderr.count("compiling")
        for _ in range(2)
    ]
    assert said == [1, 0]
