import json
from pathlib import Path

import pytest

from spixgraph.errors import InputError, StoredDataError
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


def test_other_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no card\.json"):
        load_bundle(tmp_path)


def test_hash_depends_on_content_alone(tmp_path):
    one, two = (write_toy_bundle(tmp_path / name) for name in "ab")
    assert bundle_sha256(one) == bundle_sha256(two)
    other = write_toy_bundle(tmp_path / "c", metrics={"macro_iou": 0.81})
    assert bundle_sha256(other) != bundle_sha256(one)
