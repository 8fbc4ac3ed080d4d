import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.graph.adjacency import both_directions, edge_features, region_contacts
from spixgraph.graph.sums import region_sums

L_SHAPE = np.array([[[0, 0, 1], [0, 1, 1], [2, 2, 2]]], np.int32)  # 0-1, 0-2, 1-2 touch


def features_of(labels, image, gradient=None, z_size=0.0):
    gradient = np.zeros(labels.shape, np.float32) if gradient is None else gradient
    maps = [(f"c{i}_intensity", image[..., i].copy()) for i in range(image.shape[-1])]
    sums = region_sums(labels, image, maps, int(labels.max()) + 1)
    contacts = region_contacts(labels, gradient)
    edge_index, pair = both_directions(contacts)
    attr, names = edge_features(contacts, edge_index, pair, sums, z_size=z_size)
    edges = map(tuple, edge_index.T.tolist())
    return {
        e: dict(zip(names, row.tolist(), strict=True)) for e, row in zip(edges, attr, strict=True)
    }


def test_contacts_drawn_by_hand():
    gradient = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    contacts = region_contacts(L_SHAPE, gradient)
    assert contacts.pairs.tolist() == [[0, 0, 1], [1, 2, 2]]
    assert contacts.length_px.tolist() == [3, 1, 2]
    assert contacts.gradient_sum.tolist() == [2 + 4 + 4, 6, 7 + 8]
    assert contacts.gradient_max.tolist() == [4, 6, 8]


def test_slices_touch():
    labels = np.stack([np.zeros((2, 3)), np.ones((2, 3))]).astype(np.int32)
    assert region_contacts(labels, np.zeros(labels.shape, np.float32)).length_px.tolist() == [6]


def test_one_region_has_no_contact():
    labels = np.zeros((1, 4, 4), np.int32)
    assert features_of(labels, np.zeros((1, 4, 4, 1), np.float32)) == {}


def test_edge_features_by_hand_and_their_direction():
    labels = np.repeat([[[0, 0, 1, 1]], [[0, 0, 1, 1]]], 2, axis=1).astype(np.int32)[:1]
    labels = np.concatenate([labels, labels[:, :, :1] * 0 + 1], axis=2)  # 0 0 1 1 1, two rows
    image = np.stack([labels * 0.5, 1 - labels], axis=-1).astype(np.float32)
    edges = features_of(labels, image, np.full(labels.shape, 0.25, np.float32))
    unit = np.sqrt(5)
    there, back = edges[0, 1], edges[1, 0]
    assert there == pytest.approx(
        {
            "log_contact": np.log(2),
            "gradient_mean": 0.25,
            "gradient_max": 0.25,
            "offset_z": 0,
            "offset_y": 0,
            "offset_x": 2.5 / unit,
            "log_size_ratio": np.log(6 / 4),
            "c0_contrast": 0.5,
            "c1_contrast": -1,
        }
    )
    directed = ("offset_x", "log_size_ratio", "c0_contrast", "c1_contrast")
    assert {n: -v if n in directed else v for n, v in there.items()} == pytest.approx(back)


def test_offsets_in_a_volume_are_in_units_of_the_mean_distance():
    labels = np.arange(8, dtype=np.int32).reshape(2, 2, 2).repeat(2, 0).repeat(6, 1).repeat(6, 2)
    edges = features_of(labels, np.zeros((*labels.shape, 1), np.float32), z_size=3.0)
    assert edges[0, 4]["offset_z"] == pytest.approx(1)
    assert edges[0, 2]["offset_y"] == pytest.approx(1)
    assert edges[0, 1]["offset_x"] == pytest.approx(1)


def test_shapes_that_differ_are_refused():
    with pytest.raises(InputError, match="one shape"):
        region_contacts(L_SHAPE, np.zeros((1, 3, 4), np.float32))
