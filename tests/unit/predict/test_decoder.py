"""The pixel decoder against its slow, obvious twin."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spixgraph.graph.pixel_samples import place_names
from spixgraph.graph.scaling import Scaling
from spixgraph.predict.decoder import (
    BlockNodes,
    PixelModels,
    class_probabilities,
    decode,
    decode_probabilities,
)

FIRST = 7


def strips_of(maps, step):
    """Cut maps (P, Z, Y, X) into strips, as a block of one slice is."""
    step = step if maps.shape[1] == 1 else maps.shape[2]
    cuts = [slice(y, min(y + step, maps.shape[2])) for y in range(0, maps.shape[2], step)]
    return lambda: [(rows, np.ascontiguousarray(maps[:, :, rows])) for rows in cuts]


def maps_of(models):
    return np.concatenate([maps for _, maps in models.strips()], axis=2)


def slow_values(labels, nodes, models):
    """The value of each class at each pixel, (Z, Y, X, K) float64, as the formula says."""
    out, maps = np.empty((*labels.shape, nodes.logits.shape[1])), maps_of(models)
    for place in np.ndindex(labels.shape):
        s = labels[place] - FIRST
        root = models.n_pixels[s] ** (1 / 3 if models.is_volume else 1 / 2)
        z, y, x = (np.add(place, models.origin_zyx) - models.centroid_px[s]) / root
        columns = {"z": z, "y": y, "x": x}
        raw = list(maps[(slice(None), *place)])
        for name in place_names(is_volume=models.is_volume):
            raw.append(np.prod([columns[a] for a in name.removeprefix("place_")]))
        phi = np.clip((np.array(raw) - models.scaling.mean) / models.scaling.scale, -6, 6)
        if models.layer is not None:
            phi = np.append(phi, np.maximum(models.layer.astype(float) @ np.append(phi, 1), 0))
        out[place] = nodes.logits[s] + models.weights[s].astype(float) @ phi
    return out


@st.composite
def scenes(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    is_volume = draw(st.booleans())
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 40)))
    step = draw(st.integers(1, 6))
    n, n_classes, n_maps = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(0, 9))
    labels = np.sort(rng.integers(0, n, shape), axis=-1).astype(draw(st.sampled_from("iq"))) + FIRST
    n_columns = n_maps + len(place_names(is_volume=is_volume))
    n_hidden = draw(st.integers(0, 9))
    layer = rng.normal(size=(n_hidden, n_columns + 1)).astype(np.float32)
    models = PixelModels(
        weights=rng.normal(size=(n, n_classes, n_columns + n_hidden)).astype(np.float32),
        centroid_px=rng.uniform((5, 512, 1024), (14, 521, 1033), (n, 3)),
        n_pixels=rng.integers(1, 99, n),
        origin_zyx=(5, 512, 1024),
        strips=strips_of(rng.normal(size=(n_maps, *shape)).astype(np.float32), step),
        scaling=Scaling(
            tuple(map(str, range(n_columns))),
            rng.normal(size=n_columns),
            rng.uniform(0.1, 2, n_columns),
        ),
        is_volume=is_volume,
        layer=layer if n_hidden else None,
    )
    return labels, BlockNodes(FIRST, rng.normal(size=(n, n_classes)).astype(np.float32)), models


@settings(max_examples=100, deadline=None)
@given(scenes())
def test_classes_and_shares_are_those_of_the_slow_twin(scene):
    labels, nodes, models = scene
    values = slow_values(labels, nodes, models)
    n_classes = values.shape[-1]
    ids = np.array([3, 1, 7, 4], np.uint8)[:n_classes]
    mask = decode(labels, nodes, ids, models)
    ranked = np.sort(values, axis=-1)
    clear = ranked[..., -1] - ranked[..., max(0, n_classes - 2)] > 1e-3
    clear |= n_classes == 1
    np.testing.assert_array_equal(mask[clear], ids[values.argmax(-1)][clear])
    shares = decode_probabilities(labels, nodes, models)
    wanted = np.exp(values - values.max(-1, keepdims=True))
    wanted = 255 * wanted / wanted.sum(-1, keepdims=True)
    assert np.abs(shares - np.moveaxis(wanted, -1, 0)).max() <= 0.51


def test_equal_values_take_the_first_class():
    labels = np.full((1, 1, 2), FIRST, np.int32)
    nodes = BlockNodes(FIRST, np.zeros((1, 3), np.float32))
    models = PixelModels(
        weights=np.zeros((1, 3, 5), np.float32),
        centroid_px=np.zeros((1, 3)),
        n_pixels=np.ones(1, np.int64),
        origin_zyx=(0, 0, 0),
        strips=strips_of(np.empty((0, 1, 1, 2), np.float32), 1),
        scaling=Scaling.identity("abcde"),
        is_volume=False,
    )
    ids = np.array([9, 2, 4], np.uint8)
    np.testing.assert_array_equal(decode(labels, nodes, ids, models), [[[9, 9]]])
    np.testing.assert_array_equal(decode(labels, nodes, ids), [[[9, 9]]])


def test_without_a_decoder_a_pixel_is_its_superpixel():
    labels = np.array([[[0, 1], [1, 2]]], np.int64) + FIRST
    nodes = BlockNodes(FIRST, np.array([[1, 2], [3, 0], [0, 0]], np.float32))
    mask = decode(labels, nodes, np.array([5, 6], np.uint8))
    np.testing.assert_array_equal(mask, [[[6, 5], [5, 5]]])
    shares = decode_probabilities(labels, nodes)
    wanted = np.rint(255 * class_probabilities(nodes.logits))[labels - FIRST]
    np.testing.assert_array_equal(np.moveaxis(shares, 0, -1), wanted)


def test_probabilities_are_a_softmax_without_overflow():
    logits = np.array([[1000.0, 1000.0], [0.0, np.log(3)]], np.float32)
    np.testing.assert_allclose(class_probabilities(logits), [[0.5, 0.5], [0.25, 0.75]], rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(scenes(), st.sampled_from([0.5, 2.0, 3.0]))
def test_temperature_divides_the_values(scene, temperature):
    labels, nodes, models = scene
    cooled = BlockNodes(FIRST, nodes.logits / np.float32(temperature))
    weights = models.weights / np.float32(temperature)
    shares = decode_probabilities(labels, nodes, models, temperature=temperature)
    expected = decode_probabilities(labels, cooled, replace(models, weights=weights))
    assert np.abs(shares.astype(int) - expected).max() <= 1
    alone = decode_probabilities(labels, nodes, temperature=temperature)
    np.testing.assert_array_equal(alone, decode_probabilities(labels, cooled))
