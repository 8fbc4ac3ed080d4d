import json
from pathlib import Path

import numpy as np
import pytest

from spixgraph.arrays import Array
from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import sha256_file
from spixgraph.predict.bundle import bundle_sha256, load_bundle
from tests.toy_bundle import RECIPE, write_toy_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_toy_bundle(tmp_path / "bundle")


def edit_card(path: Path, **changes) -> None:
    card = json.loads((path / "card.json").read_text())
    (path / "card.json").write_text(json.dumps(card | changes))


def test_good_bundle_loads(bundle):
    loaded = load_bundle(bundle)
    assert loaded.recipe == RECIPE
    assert loaded.card.name == "spixgraph-toy"
    assert loaded.model_path.is_file()


def test_foreign_schema_is_refused_before_anything_else(bundle):
    edit_card(bundle, schema_version=2, parts_sha256="nonsense")
    with pytest.raises(StoredDataError, match=r"schema 2, this version reads 1; export"):
        load_bundle(bundle)


def test_card_that_is_not_an_object(bundle):
    (bundle / "card.json").write_text("[]")
    with pytest.raises(StoredDataError, match="schema None"):
        load_bundle(bundle)


def test_unknown_recipe_is_refused(bundle):
    edit_card(bundle, recipe={"superpixels": {"method": "watershed"}})
    with pytest.raises(StoredDataError, match=r"superpixels.*export the model again"):
        load_bundle(bundle)


def test_changed_part_is_found(bundle):
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[-1] ^= 1
    (bundle / "model.onnx").write_bytes(data)
    with pytest.raises(StoredDataError, match=r"model\.onnx was changed"):
        load_bundle(bundle)


def test_missing_and_extra_parts_are_found(bundle):
    (bundle / "LICENSE").rename(bundle / "EXTRA")
    with pytest.raises(StoredDataError, match=r"LICENSE is missing; EXTRA is not named"):
        load_bundle(bundle)


def test_model_must_be_named_in_the_card(bundle):
    edit_card(bundle, parts_sha256={})
    (bundle / "model.onnx").unlink()
    (bundle / "LICENSE").unlink()
    with pytest.raises(StoredDataError, match=r"model\.onnx is missing"):
        load_bundle(bundle)


@pytest.mark.parametrize("kind", ["shape", "type", "value", "text"])
def test_a_layer_that_does_not_suit_the_card_is_refused(tmp_path, kind):
    path = write_toy_bundle(tmp_path / "bundle", decoder=("c0_intensity", "place_y"), n_hidden=4)
    layer = load_bundle(path).pixel_layer()
    assert layer is not None
    assert layer.shape == (4, 3)
    others: dict[str, Array] = {
        "shape": layer[:3],
        "type": layer.astype(np.float64),
        "value": layer * np.inf,
    }
    file = path / "pixel_layer.npy"
    if kind == "text":
        file.write_text("no array")
    else:
        np.save(file, others[kind])
    parts = json.loads((path / "card.json").read_text())["parts_sha256"]
    edit_card(path, parts_sha256=parts | {file.name: sha256_file(file)})
    with pytest.raises(StoredDataError, match=r"pixel_layer\.npy .*(as card\.json says|be read)"):
        load_bundle(path).pixel_layer()


def test_other_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no card\.json"):
        load_bundle(tmp_path)


def test_hash_depends_on_content_alone(tmp_path):
    one, two = (write_toy_bundle(tmp_path / name) for name in "ab")
    assert bundle_sha256(one) == bundle_sha256(two)
    other = write_toy_bundle(tmp_path / "c", metrics={"macro_iou": 0.81})
    assert bundle_sha256(other) != bundle_sha256(one)
