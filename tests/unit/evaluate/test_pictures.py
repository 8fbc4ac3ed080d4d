"""Pictures: shapes, colours, the same bytes twice."""

import numpy as np
import pytest
from PIL import Image

from spixgraph.errors import InputError
from spixgraph.evaluate.colours import default_colours, rgb_table
from spixgraph.evaluate.pictures import (
    class_tile,
    error_tile,
    graph_picture,
    image_tile,
    join_tiles,
    panel,
    png_bytes,
    save_png,
    superpixel_tile,
)

COLOURS = ("#000000", "#ff0000", "#00ff00")


def _case(shape_zyx, n_channels=1, seed=0):
    """An image, a labelling by blocks of 8 px and two masks."""
    rng = np.random.default_rng(seed)
    image = rng.random((*shape_zyx, n_channels), np.float32)
    blocks = np.indices(shape_zyx)[1:] // 8
    labels = (blocks[0] * (shape_zyx[2] // 8 + 1) + blocks[1]).astype(np.int32)
    labels = np.unique(labels, return_inverse=True)[1].reshape(shape_zyx).astype(np.int32)
    truth = rng.integers(0, 3, shape_zyx).astype(np.uint8)
    return image, labels, np.zeros_like(truth), truth


@pytest.mark.parametrize(
    ("shape_zyx", "tile"),
    [
        ((1, 512, 512), (512, 512)),
        ((1, 600, 600), (512, 512)),
        ((3, 100, 120), (400, 480)),  # enlarged by 4
        ((1, 1024, 256), (1024, 256)),
        ((1, 64, 4000), (33, 2048)),
        ((1, 1, 1), (512, 512)),
    ],
)
def test_all_tiles_have_one_shape(shape_zyx, tile):
    image, labels, prediction, truth = _case(shape_zyx)
    tiles = [
        image_tile(image),
        superpixel_tile(image, labels),
        class_tile(truth, COLOURS),
        error_tile(image, prediction, truth),
        graph_picture(image, labels, np.zeros((labels.max() + 1, 3)), np.zeros((2, 0), np.int64)),
    ]
    assert {t.shape for t in tiles} == {(*tile, 3)}
    assert {t.dtype for t in tiles} == {np.dtype(np.uint8)}


def test_panel_joins_five_tiles_or_four():
    image, labels, prediction, truth = _case((1, 512, 512))
    assert panel(image, labels, prediction, truth, COLOURS).shape == (512, 5 * 512 + 4 * 4, 3)
    assert panel(image, None, prediction, truth, COLOURS).shape == (512, 4 * 512 + 3 * 4, 3)


def test_wide_tiles_are_joined_from_top_to_bottom():
    image, labels, prediction, truth = _case((1, 200, 800))
    tile = image_tile(image).shape
    assert panel(image, labels, prediction, truth, COLOURS).shape == (tile[0] * 5 + 16, tile[1], 3)


def test_channels_become_rgb():
    image = np.zeros((1, 512, 512, 4), np.float32)
    image[..., 0] = 1.0
    assert image_tile(image[..., :1])[0, 0].tolist() == [255, 255, 255]
    assert image_tile(image[..., :2])[0, 0].tolist() == [0, 255, 0]
    assert image_tile(image[..., 1::-1])[0, 0].tolist() == [255, 0, 255]
    assert image_tile(image[..., :3])[0, 0].tolist() == [255, 0, 0]
    assert image_tile(image)[0, 0].tolist() == [255, 0, 0]


def test_volumes_show_the_middle_slice():
    image = np.zeros((3, 512, 512, 1), np.float32)
    image[1] = 1.0
    assert (image_tile(image) == 255).all()
    mask = np.array([0, 1, 2], np.uint8)[:, None, None].repeat(512, 1).repeat(512, 2)
    assert (class_tile(mask, COLOURS) == [255, 0, 0]).all()


def test_downscaling_averages_images_and_picks_classes():
    checks = (np.indices((1024, 1024)).sum(0) % 2)[None].astype(np.uint8)
    tile = image_tile(checks[..., None].astype(np.float32))
    assert (tile == 128).all()
    colours = np.unique(class_tile(checks, COLOURS).reshape(-1, 3), axis=0).tolist()
    assert set(map(tuple, colours)) <= {(0, 0, 0), (255, 0, 0)}


def test_errors_are_orange_and_unknown_is_hatched():
    image = np.zeros((1, 512, 512, 1), np.float32)
    truth, prediction = np.zeros((2, 1, 512, 512), np.uint8)
    truth[0, :8], prediction[0, 4:12] = 255, 1
    tile = error_tile(image, prediction, truth)
    assert (tile[12:] == 0).all()
    assert (tile[8:12] == [255, 96, 0]).all()
    assert len(np.unique(tile[:8].reshape(-1, 3), axis=0)) == 2
    np.testing.assert_array_equal(class_tile(truth, COLOURS)[:8], tile[:8])


def test_superpixel_outlines_follow_the_labels():
    image, labels, *_ = _case((1, 512, 512))
    changed = (superpixel_tile(image, labels) != image_tile(image)).any(axis=-1)
    border = np.zeros((512, 512), np.bool_)
    border[7:-1:8] = border[:, 7:-1:8] = True
    np.testing.assert_array_equal(changed, border)


def test_graph_draws_nodes_and_edges_of_the_slice():
    image = np.zeros((3, 512, 512, 1), np.float32)
    labels = np.full((3, 512, 512), 2, np.int32)
    labels[1, :, :256], labels[1, :, 256:] = 0, 1  # node 2 is not in the middle slice
    centroid = np.array([[1, 255.5, 127.5], [1, 255.5, 383.5], [1, 10.0, 10.0]])
    edges = np.array([[0, 1, 0, 2], [1, 0, 2, 0]])
    drawn = graph_picture(image, labels, centroid, edges).max(axis=-1) > 0
    assert drawn[256, 128:384].all()
    assert not drawn[:250].any()
    alone = graph_picture(image, labels, centroid, edges[:, :0]).max(axis=-1) > 0
    assert alone[256, 128]
    assert not alone[256, 200]


def test_one_direction_of_the_edges_is_enough():
    image, labels, *_ = _case((1, 64, 64))
    centroid = np.random.default_rng(1).random((64, 3)) * 63
    edges = np.array([[0, 5, 9], [3, 7, 11]])
    both = np.concatenate([edges, edges[::-1]], axis=1)
    np.testing.assert_array_equal(
        graph_picture(image, labels, centroid, edges), graph_picture(image, labels, centroid, both)
    )


def test_png_holds_the_picture_and_nothing_that_changes(tmp_path):
    image, labels, prediction, truth = _case((1, 40, 50), n_channels=2)
    pictures = [panel(image, labels, prediction, truth, COLOURS) for _ in range(2)]
    save_png(tmp_path / "a.png", pictures[0])
    save_png(tmp_path / "b.png", pictures[1])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert png_bytes(pictures[0]) == (tmp_path / "a.png").read_bytes()
    with Image.open(tmp_path / "a.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), pictures[0])
        assert stored.info == {}


def test_default_colours_are_distinct_and_start_dark():
    colours = default_colours(255)
    assert len(set(colours)) == 255
    assert max(rgb_table(colours)[0]) < 40
    assert default_colours(3) == colours[:3]
    assert default_colours(0) == ()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda c: panel(c[0][..., 0], c[1], c[2], c[3], COLOURS), "image must be"),
        (lambda c: panel(c[0], c[1][:, 1:], c[2], c[3], COLOURS), "image has"),
        (lambda c: error_tile(c[0], c[2], c[3][:, 1:]), "image has"),
        (lambda c: class_tile(c[3].astype(int), COLOURS), "a mask must be"),
        (lambda c: class_tile(c[3], COLOURS[:2]), "mask holds class 2 but there are 2 colours"),
        (lambda c: class_tile(c[3], ("red",) * 3), "#rrggbb, got 'red'"),
        (lambda c: png_bytes(c[0]), "rgb must be"),
        (lambda c: join_tiles([image_tile(c[0]), np.zeros((2, 2, 3), np.uint8)]), "one shape"),
        (
            lambda c: graph_picture(c[0], c[1], np.zeros((2, 3)), np.zeros((2, 0), int)),
            "2 centroids",
        ),
        (
            lambda c: graph_picture(c[0], c[1], np.zeros((4, 3)), np.array([[0], [4]])),
            "edges up to 4",
        ),
        (lambda c: default_colours(-1), "number of colours must be >= 0, got -1"),
    ],
)
def test_bad_input_is_named(draw, message):
    case = _case((1, 16, 16))
    case[3][0, 0, 0] = 2
    with pytest.raises(InputError, match=message):
        draw(case)
