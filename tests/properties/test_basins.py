"""Each kernel of the basin engine against its slow twin, and the law of the house."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label as connected

from spixgraph.io.images import ArraySource
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.superpixels.basins.block import (
    BasinGraph,
    Workspace,
    find_basins,
    label_block,
    merge_basins,
)
from spixgraph.superpixels.basins.grid import BarrierGrid, BasinPlan
from spixgraph.superpixels.basins.image import label_blocks
from spixgraph.superpixels.basins.levels import ImageLevels, read_with_halo
from tests.unit.superpixels.basins_slow import (
    basins_slow,
    by_first_pixel,
    contacts_slow,
    gradient_slow,
    merge_slow,
    refine_slow,
    rounded_slow,
    smooth_slow,
)

quick = settings(max_examples=40, deadline=None)  # the first example compiles


@st.composite
def tiles(draw):
    """Levels of a small block with its halo, often flat in places so that ties are common."""
    is_volume = draw(st.booleans())
    halo = (5 if is_volume else 0, 5, 5)
    shape = draw(
        st.tuples(
            st.integers(1, 3), st.integers(1, 4) if is_volume else st.just(1), st.integers(1, 9),
            st.integers(1, 9),
        )
    )  # fmt: skip
    wide = (shape[0], *(n + 2 * h for n, h in zip(shape[1:], halo, strict=True)))
    top = draw(st.sampled_from([1, 40, 32767]))
    seed = draw(st.integers(0, 2**32 - 1))
    tile = np.random.default_rng(seed).integers(0, top + 1, wide, np.uint16)
    if draw(st.booleans()):
        tile[..., : wide[-1] // 2] = top
    return tile, halo


@given(tiles(), st.sampled_from([256, 512]))
@quick
def test_gradient_basins_sums_and_contacts_match_the_slow_twins(tile_halo, block_px):
    tile, halo = tile_halo
    plan, shape = plan_of(tile, halo, block_px=block_px)
    found = find_basins(tile, halo, shape, plan, Workspace())
    graph = found.graph
    gradient = gradient_slow(tile, halo)
    np.testing.assert_array_equal(found.gradient, gradient)
    rounded = rounded_slow(gradient, plan.flatness)
    labels = basins_slow(rounded, is_volume=halo[0] > 0)
    np.testing.assert_array_equal(found.labels, labels)
    n = labels.max() + 1
    assert graph.n_regions == n
    np.testing.assert_array_equal(graph.regions.n_pixels[:n], np.bincount(labels.flat))
    axes = (0, 1, 2) if halo[0] else (1, 2)
    rim = tuple(slice(3, -3) if axis in axes else slice(None) for axis in range(3))
    planes = [*(smooth_slow(channel, axes)[rim] for channel in tile), gradient]
    for p, plane in enumerate(planes):
        total = np.bincount(labels.flat, plane.ravel())
        np.testing.assert_array_equal(graph.regions.total[:n, p], total)
    assert _contacts(graph) == contacts_slow(labels, gradient)


def plan_of(tile, halo, *, block_px=512, merge_cost=0.0, compactness=0.0, weights=None):
    """A plan for one block, and the size of the block."""
    z, y, x = (n - 2 * h for n, h in zip(tile.shape[1:], halo, strict=True))
    block = (64, 64, 64) if halo[0] else (1, block_px, block_px)
    grid = BarrierGrid((z, y, x), block, halo[0] > 0)
    weights = weights or (1.0,) * len(tile)
    return BasinPlan(grid, weights, merge_cost, compactness), (z, y, x)


def _contacts(graph):
    """Map (u, v) to [faces, sum of gradients, largest gradient]."""
    columns = (rows[: graph.n_contacts].tolist() for rows in graph.contacts)
    rows = list(zip(*columns, strict=True))
    pairs = {
        (k >> 16 & 0xFFFF, k & 0xFFFF): [b >> 40, b & ((1 << 40) - 1), top] for k, b, top in rows
    }
    assert len(pairs) == graph.n_contacts
    return pairs


@given(tiles(), st.sampled_from([0.3, 0.125]))
@quick
def test_weights_scale_the_channels(tile_halo, weight):
    tile, halo = tile_halo
    weights = (1.0, weight, weight)[: len(tile)]
    plan, shape = plan_of(tile, halo, weights=weights)
    factor = np.array(weights, np.float32)[:, None, None, None]
    weighed = np.rint(tile * factor).astype(np.uint16)
    found = find_basins(tile, halo, shape, plan, Workspace()).gradient.copy()
    same = find_basins(weighed, halo, shape, plan_of(tile, halo)[0], Workspace()).gradient
    np.testing.assert_array_equal(found, same)


@given(tiles())
@quick
def test_a_block_inside_a_wider_tile_is_the_same(tile_halo):
    tile, halo = tile_halo
    plan, shape = plan_of(tile, halo)
    begin = tuple(h + 3 * (h > 0) for h in halo)
    wide = np.pad(tile, [(0, 0), *((3 * (h > 0), 5 * (h > 0)) for h in halo)])
    found = find_basins(wide, begin, shape, plan, Workspace()).labels.copy()
    np.testing.assert_array_equal(found, find_basins(tile, halo, shape, plan, Workspace()).labels)


@given(tiles(), st.floats(0, 40), st.sampled_from([0.0, 0.7, 2.0]))
@quick
def test_superpixels_match_the_slow_twin(tile_halo, log_cost, compactness):
    tile, halo = tile_halo
    plan, shape = plan_of(tile, halo, merge_cost=2.0**log_cost, compactness=compactness)
    found = find_basins(tile, halo, shape, plan, Workspace())
    graph, basins = found.graph, found.labels
    region, _, count, total = merge_slow(
        graph.regions.n_pixels[: graph.n_regions],
        graph.regions.total[: graph.n_regions],
        {pair: border[:2] for pair, border in _contacts(graph).items()},
        plan.merge_cost,
        compactness,
    )
    inside = tuple(slice(3, -3) if h else slice(None) for h in halo)
    once = found.once[(slice(None), *inside)]
    refined = refine_slow(np.asarray(region)[basins], once, count, total, is_volume=halo[0] > 0)
    labels, n_regions, _ = label_block(tile, halo, shape, plan, Workspace())
    np.testing.assert_array_equal(labels, by_first_pixel(refined))
    assert n_regions == labels.max() + 1 == len(set(region))
    assert all(connected(labels == i, np.ones((3, 3, 3)))[1] == 1 for i in range(n_regions))


@st.composite
def region_graphs(draw):
    """Regions of very different sizes with few distinct values, so that ties are common."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2, 40))
    n_pixels = rng.choice([1, 2, 3, 50, 400], n).astype(np.int64)
    mean = rng.integers(0, draw(st.sampled_from([2, 9, 3000])), (n, 2))
    pairs = [(u, v) for u in range(n) for v in range(u + 1, n)]
    chosen = rng.permutation(len(pairs))[: draw(st.integers(1, 4 * n))]
    sides = rng.integers(1, 9, len(chosen))
    steep = sides * rng.integers(0, draw(st.sampled_from([1, 5, 3000])), len(chosen))
    borders = zip(sides.tolist(), steep.tolist(), strict=True)
    contacts = {pairs[i]: list(b) for i, b in zip(chosen, borders, strict=True)}
    return n_pixels, mean * n_pixels[:, None], contacts


@given(region_graphs(), st.floats(0, 40), st.sampled_from([0.0, 0.7, 2.0]))
@settings(max_examples=300, deadline=None)
def test_merging_of_any_graph_matches_the_slow_twin(region_graph, log_cost, compactness):
    n_pixels, total, contacts = region_graph
    work = Workspace()
    regions, rows = work.regions(2), work.contacts("contacts", len(contacts))
    regions.n_pixels[: len(n_pixels)] = n_pixels
    regions.total[: len(n_pixels)] = total
    rows.key[:] = [u << 16 | v for u, v in contacts]
    rows.border[:] = [sides << 40 | steep for sides, steep in contacts.values()]
    graph = BasinGraph(regions, rows, len(n_pixels), len(contacts))
    n_regions = merge_basins(graph, 2.0**log_cost, compactness, work)
    wanted, left, _, _ = merge_slow(n_pixels, total, contacts, 2.0**log_cost, compactness)
    assert regions.parent[: len(n_pixels)].tolist() == wanted
    assert n_regions == len(set(wanted))
    assert {pair: border[:2] for pair, border in _contacts(graph).items()} == left


@st.composite
def plans(draw):
    """An image in one of three dtypes and a plan with odd sizes."""
    is_volume = draw(st.booleans())
    n_z = draw(st.integers(1, 9 if is_volume else 2))
    shape = (n_z, draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(1, 3)))
    block = (
        draw(st.integers(1, 5)) if is_volume else 1,
        draw(st.integers(3, 17)),
        draw(st.integers(3, 17)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.sampled_from([3, 256]))
    pixels = rng.integers(0, steps, shape).astype(np.uint8)
    merge_cost = 2.0 ** draw(st.integers(10, 34))
    weights = tuple([1.0, 0.7, 0.3][: shape[3]])
    plan = BasinPlan(
        BarrierGrid(shape[:3], block, is_volume), weights, merge_cost, draw(st.floats(0, 2))
    )
    return pixels, plan


def scaled(pixels):
    source = ArraySource(pixels)
    limits = intensity_limits(source)
    whole = (slice(None), slice(None), slice(None))
    return ImageLevels(read_scaled(source, limits, *whole))


@given(plans(), st.randoms(use_true_random=False), st.integers(1, 4))
@quick
def test_the_law_any_blocks_any_order_any_workers(pixels_plan, random, workers):
    pixels, plan = pixels_plan
    source = scaled(pixels)
    everything = list(range(plan.grid.n_blocks))
    whole = [labels for labels, _ in label_blocks(source, plan, everything)]
    some = random.sample(everything, random.randint(1, len(everything)))
    again = label_blocks(source, plan, some, workers=workers)
    for number, (labels, n) in zip(some, again, strict=True):
        np.testing.assert_array_equal(labels, whole[number])
        assert n == labels.max() + 1


@given(plans())
@quick
def test_a_block_sees_its_halo_and_no_further(pixels_plan):
    pixels, plan = pixels_plan
    source = scaled(pixels)
    rng = np.random.default_rng(0)
    for number in range(plan.grid.n_blocks):
        box = plan.grid.box(number)
        halo = plan.grid.halo_zyx
        near = tuple(slice(max(0, s.start - h), s.stop + h) for s, h in zip(box, halo, strict=True))
        other = rng.random((*source.shape_zyx, source.n_channels), np.float32)
        other[near] = np.moveaxis(source.read(near), 0, -1) / np.float32(32767)
        changed = ImageLevels(other)
        np.testing.assert_array_equal(
            read_with_halo(source, box, halo), read_with_halo(changed, box, halo)
        )


@given(plans(), st.sampled_from([np.uint16, np.float32, np.float64]))
@quick
def test_every_dtype_gives_the_same_labels(pixels_plan, dtype):
    pixels, plan = pixels_plan
    numbers = range(plan.grid.n_blocks)
    a = label_blocks(scaled(pixels), plan, numbers)
    b = label_blocks(scaled(pixels.astype(dtype)), plan, numbers)
    for (labels, _), (same, _) in zip(a, b, strict=True):
        np.testing.assert_array_equal(labels, same)
