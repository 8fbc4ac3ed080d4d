import json
from pathlib import Path

import pytest

from spixgraph.cli import main
from spixgraph.errors import InputError, ResourceError, StoredDataError
from spixgraph.predict.bundle import bundle_sha256, load_bundle
from spixgraph.registry import versions
from spixgraph.registry.promotion import promote as promote_by
from spixgraph.registry.store import ModelStore
from tests.toy_bundle import write_toy_bundle


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.fixture
def name(request) -> str:
    """A model of its own for each test."""
    return request.node.name.translate(str.maketrans("[]", "--"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> dict[float, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {
        score: write_toy_bundle(folder / str(score), metrics={"macro_iou": score})
        for score in (0.70, 0.75, 0.60)
    }


def promote(name, number):
    return promote_by(name, number, examine=None)


def aliases(name) -> dict[str, int]:
    return ModelStore().aliases(name)


def kill_at(monkeypatch, method, *, call=1):
    """Kill at the given call of a method of the store; give back how to undo it."""
    original, calls = getattr(ModelStore, method), []

    def killed(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise Killed
        return original(self, *args, **kwargs)

    monkeypatch.setattr(ModelStore, method, killed)
    return lambda: monkeypatch.setattr(ModelStore, method, original)


def test_register_twice_is_one_version(name, bundles):
    one, two = (versions.register(bundles[0.70], name) for _ in range(2))
    assert one == two
    assert one.number == 1
    assert one.aliases == ("candidate",)
    assert [v.number for v in versions.list_versions(name)] == [1]


def test_version_carries_where_it_comes_from(name, bundles):
    made = versions.register(bundles[0.70], name)
    assert made.tags["bundle_sha256"] == bundle_sha256(bundles[0.70])
    assert made.tags["data_sha256"] == "d" * 64
    assert made.tags["code_sha256"] == "c" * 64
    assert made.metrics == {"macro_iou": 0.70}


def test_artifacts_lie_beside_the_database(name, bundles, folder):
    made = versions.register(bundles[0.70], name)
    assert list((folder / "mlartifacts").rglob(f"{made.run_id}/**/model.onnx"))
    assert {p.name for p in folder.iterdir()} == {"mlflow.db", "mlartifacts"}


def test_other_bundle_is_another_version(name, bundles):
    assert versions.register(bundles[0.70], name).number == 1
    assert versions.register(bundles[0.75], name).number == 2
    assert aliases(name) == {"candidate": 2}
    assert versions.register(bundles[0.70], name).number == 1
    assert aliases(name) == {"candidate": 1}


@pytest.mark.parametrize("method", ["create_version", "download", "set_tags", "set_alias"])
def test_killed_register_leaves_nothing_visible_and_is_taken_up(name, bundles, monkeypatch, method):
    undo = kill_at(monkeypatch, method)
    with pytest.raises(Killed):
        versions.register(bundles[0.70], name)
    undo()
    assert aliases(name) == {}
    if method != "set_alias":
        assert versions.list_versions(name) == []
    made = versions.register(bundles[0.70], name)
    assert [v.number for v in ModelStore().versions(name)] == [made.number]
    assert aliases(name) == {"candidate": made.number}


def test_incomplete_version_cannot_be_promoted_or_fetched(name, bundles, monkeypatch, tmp_path):
    undo = kill_at(monkeypatch, "set_tags")
    with pytest.raises(Killed):
        versions.register(bundles[0.70], name)
    undo()
    with pytest.raises(InputError, match="no complete version 1; it has: none"):
        promote(name, 1)
    with pytest.raises(InputError, match="no complete version 1"):
        versions.fetch(name, "1", tmp_path / "out")


def test_fetch_gives_the_same_bundle(name, bundles, tmp_path):
    versions.register(bundles[0.70], name)
    versions.fetch(name, "candidate", tmp_path / "out")
    assert bundle_sha256(tmp_path / "out") == bundle_sha256(bundles[0.70])
    load_bundle(tmp_path / "out")
    with pytest.raises(InputError, match="exists; name a folder"):
        versions.fetch(name, "1", tmp_path / "out")


def test_bundle_changed_in_the_store_is_found(name, bundles, tmp_path, folder):
    made = versions.register(bundles[0.70], name)
    part = next((folder / "mlartifacts").rglob(f"{made.run_id}/**/LICENSE"))
    part.write_text("mine\n")
    with pytest.raises(StoredDataError, match="was changed in the store"):
        versions.fetch(name, "1", tmp_path / "out")
    with pytest.raises(StoredDataError, match="was changed in the store"):
        promote(name, 1)
    assert not (tmp_path / "out").exists()


def test_unknown_names_say_what_there_is(name, bundles, tmp_path):
    versions.register(bundles[0.70], name)
    with pytest.raises(InputError, match=f"it holds: .*{name}"):
        versions.list_versions("other")
    with pytest.raises(InputError, match="no alias 'champion'; it has: candidate"):
        versions.fetch(name, "champion", tmp_path / "out")
    with pytest.raises(InputError, match="no complete version 9; it has: 1"):
        promote(name, 9)
    with pytest.raises(InputError, match="must be letters"):
        versions.register(bundles[0.70], "a/b")


def test_damaged_bundle_is_not_registered(tmp_path):
    with pytest.raises(InputError, match=r"no card\.json"):
        versions.register(tmp_path)


def test_registry_out_of_reach(name, bundles, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ResourceError, match=r"127\.0\.0\.1:9 refused"):
        versions.register(bundles[0.70], name)


def test_verification_of_another_bundle_is_refused_when_registering(name, bundles, tmp_path):
    proof = tmp_path / "verification.json"
    proof.write_text(json.dumps({"bundle_sha256": "0" * 64}))
    with pytest.raises(InputError, match="verification of another bundle"):
        versions.register(bundles[0.70], name, verification=proof)


def test_names_of_ledgers_are_not_for_models(bundles):
    with pytest.raises(InputError, match=r"not end in \.promotions"):
        versions.register(bundles[0.70], "a.promotions")


@pytest.mark.parametrize("reference", ["name", "@champion", "name@"])
def test_reference_must_have_name_and_alias(reference, tmp_path):
    with pytest.raises(InputError, match="must be NAME@ALIAS"):
        main(["--debug", "model", "fetch", reference, str(tmp_path / "out")])


def test_name_on_the_card_is_the_default(bundles):
    assert versions.register(bundles[0.70]).name == "spixgraph-toy"
