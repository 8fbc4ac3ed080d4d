import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from spixgraph.errors import InputError, StoredDataError
from spixgraph.io.images import ArraySource
from spixgraph.predict.bundle import Bundle, load_bundle
from spixgraph.predict.driver import (
    class_probabilities,
    open_model,
    paint,
    segment_source,
)
from spixgraph.predict.image_graph import graph_of_image
from tests.toy_bundle import CLASSES, RECIPE, blob_image, slow_logits, write_toy_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return load_bundle(write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle"))


def test_mask_is_the_class_of_each_superpixel(bundle):
    source = blob_image(seed=3)
    found = segment_source(source, bundle)
    _, graph = graph_of_image(source, RECIPE)
    columns = bundle.card.node_features
    mean, scale = (np.array([getattr(c, k) for c in columns]) for k in ("mean", "scale"))
    x = np.clip((graph.x - mean) / scale, -6, 6)
    logits = slow_logits(x.astype(np.float32), graph.edge_index)
    np.testing.assert_allclose(found.logits, logits, atol=1e-4)
    slow = np.array([[logits[i].argmax() for i in row] for row in found.labels[0]])
    np.testing.assert_array_equal(found.mask[0], slow)
    assert set(np.unique(slow)) == {0, 1}
    assert list(found.seconds) == ["read", "superpixels", "graph", "network", "mask"]


def test_class_ids_of_the_card_are_in_the_mask(tmp_path):
    classes = [CLASSES[0], {**CLASSES[1], "id": 7}]
    other = load_bundle(write_toy_bundle(tmp_path / "b", classes=classes))
    found = segment_source(blob_image(), open_model(other, device="cpu"))
    assert set(np.unique(found.mask)) == {0, 7}


def test_paint_takes_the_first_of_equal_logits():
    labels = np.array([[[0, 1], [1, 0]]], np.int32)
    logits = np.array([[2.0, 2.0, 1.0], [0.0, 1.0, 5.0]], np.float32)
    mask = paint(labels, logits, np.array([4, 5, 6], np.uint8))
    np.testing.assert_array_equal(mask, [[[4, 6], [6, 4]]])
    assert mask.dtype == np.uint8


def test_probabilities_are_a_softmax_without_overflow():
    logits = np.array([[1000.0, 1000.0], [0.0, np.log(3)]], np.float32)
    np.testing.assert_allclose(class_probabilities(logits), [[0.5, 0.5], [0.25, 0.75]], rtol=1e-6)


def test_wrong_channels_and_dims_are_refused(bundle):
    with pytest.raises(InputError, match=r"has 3 channel\(s\).*trained on 1"):
        segment_source(blob_image(channels=3), bundle)
    volume = ArraySource(np.zeros((4, 8, 8, 1), np.uint8))
    with pytest.raises(InputError, match=r"3D \(Z = 4\).*trained on 2D"):
        segment_source(volume, bundle)


@pytest.mark.parametrize(
    ("size", "far"), [(0.5, False), (0.21, False), (0.19, True), (1.19, False), (1.3, True)]
)
def test_far_pixel_size_is_a_warning(bundle, caplog, size, far):
    source = blob_image()
    source.info = dataclasses.replace(source.info, pixel_size_um=(1.0, size, size))
    segment_source(source, bundle)
    assert ("far outside" in caplog.text) is far


def test_unknown_pixel_size_is_no_warning(bundle, caplog):
    source = blob_image()
    source.info = dataclasses.replace(source.info, pixel_size_um=None)
    segment_source(source, bundle)
    assert caplog.text == ""


def test_other_features_are_refused(tmp_path):
    path = write_toy_bundle(tmp_path / "b")
    loaded = load_bundle(path)
    columns = loaded.card.node_features
    renamed = (columns[0].model_copy(update={"name": "old"}), *columns[1:])
    card = loaded.card.model_copy(update={"node_features": renamed})
    with pytest.raises(StoredDataError, match=r"node features.*trained on"):
        segment_source(blob_image(), dataclasses.replace(loaded, card=card))


@pytest.mark.parametrize(
    ("logits", "message"),
    [(lambda n: np.zeros((n, 3)), "card wants"), (lambda n: np.full((n, 2), np.nan), "NaN")],
)
def test_broken_network_is_refused(bundle, logits, message):
    model = dataclasses.replace(
        open_model(bundle, device="cpu"), predictor=lambda x, *_: logits(len(x))
    )
    with pytest.raises(StoredDataError, match=message):
        segment_source(blob_image(), model)


def test_constant_image_and_tiny_image(bundle):
    for shape in ((1, 16, 16, 1), (1, 1, 2, 1)):
        found = segment_source(ArraySource(np.full(shape, 9, np.uint8)), bundle)
        assert found.mask.shape == shape[:3]


def test_same_image_same_mask_on_any_number_of_threads(bundle):
    one, two = (
        segment_source(blob_image(96), open_model(bundle, device="cpu", threads=n)) for n in (1, 2)
    )
    np.testing.assert_array_equal(one.mask, two.mask)


def test_prediction_needs_no_torch(bundle):
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['mlflow'] = None\n"
        "from pathlib import Path; import numpy as np\n"
        "from spixgraph.io.images import ArraySource\n"
        "from spixgraph.predict.bundle import load_bundle\n"
        "from spixgraph.predict.driver import segment_source\n"
        "source = ArraySource(np.zeros((1, 16, 16, 1), np.uint8))\n"
        "print(segment_source(source, load_bundle(Path(sys.argv[1]))).mask.shape)\n"
    )
    command = [sys.executable, "-c", code, str(bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 16, 16)"
