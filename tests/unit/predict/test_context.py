"""The network of the overview: tiles, interpolation, and its share of the class values."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from spixgraph.graph.scaling import Scaling
from spixgraph.io.images import ArraySource
from spixgraph.io.masks import read_mask
from spixgraph.predict import context as module
from spixgraph.predict.context import HALO, MULTIPLE, Context, ContextMap, room_in_memory
from spixgraph.predict.driver import opinions_on, paint_opinions, segment_source
from spixgraph.predict.stream import segment_to_file
from tests.unit.predict.test_stream import model_of


class Smooth:
    """Two classes by the mean over a neighbourhood, as wide as a network of four levels sees."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, cells):
        self.shapes.append(cells.shape)
        assert cells.shape[1] % MULTIPLE == cells.shape[2] % MULTIPLE == 0
        wide = uniform_filter(cells.mean(0), 2 * HALO - 3, mode="nearest")
        near = uniform_filter(cells.mean(0), 3, mode="nearest")
        return np.stack([np.zeros_like(near), 3 * near - wide])


def context_of(weight=0.5, factor=4) -> Context:
    return Context(factor, weight, 2, Smooth())


def box_of(source):
    z, y, x, _ = source.info.shape_zyxc
    return slice(0, z), slice(0, y), slice(0, x)


def test_tiles_give_what_the_whole_overview_gives(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 900, 700, 2)).astype(np.uint8)
    source = ArraySource(pixels)
    whole = context_of().look(source, box_of(source), room_in_memory)
    monkeypatch.setattr(module, "TILE", 64)
    cut = context_of()
    tiles = cut.look(source, box_of(source), room_in_memory)
    assert isinstance(cut.predictor, Smooth)
    assert len(cut.predictor.shapes) == 2 * 4 * 3
    # rows are padded to a multiple at the far ends alone
    ours, theirs = (np.asarray(m.values[:]).astype(float) for m in (tiles, whole))
    assert ours.shape == (2 * 225, 175, 2)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    np.testing.assert_allclose(np.exp(ours).sum(2), 1, atol=2e-3)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_pixels_between_cells_are_interpolated(factor):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2 * 13, 11, 2)).astype(np.float16)
    seen = ContextMap(context_of(factor=factor), values, 13, (0, 0, 0))
    maps = rng.normal(size=(3, 2, 13 * factor, 11 * factor)).astype(np.float32)

    def strips():
        for start in (0, 16):
            stop = 16 if start == 0 else maps.shape[2]
            yield slice(start, stop), maps[:, :, start:stop]

    wide = np.concatenate([w for _, w in seen.beside(strips, (0, 0, 0), maps.shape[1:])()], axis=2)
    np.testing.assert_array_equal(wide[2:], maps)
    cells = values.astype(float).reshape(2, 13, 11, 2)
    for z, y, x in rng.integers(0, maps.shape[1:], (50, 3)):
        at_y, at_x = ((v + 0.5) / factor - 0.5 for v in (y, x))
        at_y, at_x = min(max(at_y, 0), 12), min(max(at_x, 0), 10)
        i, j = min(int(at_y), 11), min(int(at_x), 9)
        down, across = at_y - i, at_x - j
        upper = cells[z, i, j] * (1 - across) + cells[z, i, j + 1] * across
        lower = cells[z, i + 1, j] * (1 - across) + cells[z, i + 1, j + 1] * across
        wanted = upper * (1 - down) + lower * down
        np.testing.assert_allclose(wide[:2, z, y, x], wanted, atol=1e-4)


def test_a_block_inside_sees_what_the_image_sees_there():
    values = np.random.default_rng(0).normal(size=(40, 40, 2)).astype(np.float16)
    whole = ContextMap(context_of(), values, 40, (0, 0, 0))
    blank = np.zeros((1, 1, 160, 160), np.float32)
    ((_, all_of_it),) = whole.beside(lambda: [(slice(0, 160), blank)], (0, 0, 0), (1, 160, 160))()
    part = blank[:, :, :32, :32]
    ((_, inside),) = whole.beside(lambda: [(slice(0, 32), part)], (0, 64, 96), (1, 32, 32))()
    np.testing.assert_allclose(inside[:2], all_of_it[:2, :, 64:96, 96:128], atol=1e-6)


def test_shares_add_up_and_hidden_values_do_not_see_the_context():
    context, rng = context_of(weight=0.25), np.random.default_rng(0)
    logits = rng.normal(size=(5, 2)).astype(np.float32)
    weights = rng.normal(size=(5, 2, 4)).astype(np.float32)  # three columns, one hidden value
    layer = rng.normal(size=(1, 4)).astype(np.float32)
    scaling = Scaling(("a", "b", "place_y"), np.arange(3.0), np.full(3, 0.5))
    found, joined = context.joined(logits, weights)
    wide, broad = context.layer(layer), context.scaling(scaling)
    assert wide is not None
    assert broad.names == ("context_0", "context_1", "a", "b", "place_y")
    log_p = np.log([0.2, 0.8])
    columns = rng.normal(size=3)
    seen = (np.concatenate([log_p, columns]) - broad.mean) / broad.scale
    hidden = max(0, float((wide[0, :-1] * seen).sum() + wide[0, -1]))
    ours = (columns - scaling.mean) / scaling.scale
    assert hidden == pytest.approx(max(0, float((layer[0, :-1] * ours).sum() + layer[0, -1])))
    for s in range(5):
        value = found[s] + joined[s] @ [*seen, hidden]
        alone = logits[s] + weights[s] @ [*ours, hidden]
        np.testing.assert_allclose(value, 0.75 * alone + 0.25 * log_p, rtol=1e-5)


@pytest.mark.parametrize("kind", ["image", "channels", "stack", "volume"])
def test_the_streamed_mask_is_that_of_the_driver(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(module, "TILE", 64)
    source, plain = model_of(tmp_path / "b", kind, decoder=True, n_hidden=5)
    model = dataclasses.replace(plain, context=context_of(0.9))
    found = segment_source(source, model)
    told: Counter[str] = Counter()
    done = segment_to_file(
        source, model, tmp_path / "m.tif", workers=2,
        progress=lambda step, n: told.update({step: n}),
    )  # fmt: skip
    n_pixels = found.mask.size
    assert told["context"] == pytest.approx(n_pixels, abs=20)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), found.mask)
    assert (found.mask != segment_source(source, plain).mask).any()
    assert {"context", "mask"} <= set(done.seconds)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "m.tif"]


def test_alone_it_gives_the_classes_of_its_cells(tmp_path):
    source, plain = model_of(tmp_path / "b", "image", decoder=True)
    model = dataclasses.replace(plain, context=context_of(1.0))
    opinions = opinions_on(source, model)
    assert opinions.context is not None
    cells = np.asarray(opinions.context.values[:]).argmax(2)
    mask = paint_opinions(source, opinions).mask[0]
    inner = mask[2::4, 2::4][: cells.shape[0], : cells.shape[1]]
    assert (cells == inner).mean() > 0.98
