"""A network of the overview, from training to the bundle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spixgraph.config.params import ContextTraining, NodeTraining, load_params
from spixgraph.errors import InputError
from spixgraph.export.bundle_writer import write_bundle
from spixgraph.export.onnx_export import export_context
from spixgraph.files import sha256_file
from spixgraph.io.phantoms import write_phantom_dataset
from spixgraph.nets.committee import Committee
from spixgraph.predict.bundle import CONTEXT_FILE, load_bundle
from spixgraph.predict.card import ClassInfo
from spixgraph.predict.driver import open_model, segment_source
from spixgraph.predict.memory import memory_contract
from spixgraph.stages import context as module
from spixgraph.stages.graphs import make_graphs, make_superpixels
from spixgraph.stages.layout import Layout
from spixgraph.stages.models import node_model_of
from spixgraph.stages.prepare import load_prepared, open_item, prepare, recipe_for
from spixgraph.stages.run import Run
from spixgraph.stages.training import fit_model
from spixgraph.train.checkpoints import load_checkpoint, save_checkpoint
from spixgraph.train.node_training import TrainedNodeNet

REPOSITORY = Path(__file__).resolve().parents[3]
SETTINGS = ContextTraining(channels=(4, 4, 4), epochs=2, steps_per_epoch=5, batch=2, patch_px=32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    write_phantom_dataset(root / "d", kind="colonies", shape_zyx=(1, 160, 160), n_images=3, seed=0)
    params = load_params(REPOSITORY / "params.yaml")
    small = {"hidden": 8, "layers": 1, "members": 2, "epochs": 1, "changed": 0}
    gnn = params.train.gnn.model_copy(update={**small, "context": SETTINGS})
    train = params.train.model_copy(update={"gnn": gnn})
    run = Run(Layout(root / "w"), root / "d", params.model_copy(update={"train": train}))
    prepare(run)
    make_superpixels(run, "rag")
    make_graphs(run, "rag")
    return run


def fitted(run) -> tuple[TrainedNodeNet, list[tuple[str, int]]]:
    epochs: list[tuple[str, int]] = []
    trained = fit_model(
        run, load_prepared(run), "gnn", 0,
        on_epoch=lambda phase, record: epochs.append((phase, record.epoch)),
    )  # fmt: skip
    assert isinstance(trained, TrainedNodeNet)
    return trained, epochs


@pytest.fixture(scope="module")
def trained(run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LEAST_GAIN", -1.0)
        patch.setattr(module, "MAIN_SHARE", 0.0)
        found, epochs = fitted(run)
    assert epochs == [("first", 1), ("context", 1), ("context", 2)]
    return found


def masks(run, model) -> list[np.ndarray]:
    found = []
    for item in load_prepared(run).split("val", "test"):
        with open_item(run, item) as source:
            found.append(segment_source(source, model).mask)
    return found


def test_weight_and_temperature_are_among_those_that_were_tried(trained):
    assert trained.context.weight in module.WEIGHTS
    assert trained.temperature in module.TEMPERATURES
    assert trained.context.build["channels"] == (4, 4, 4)


def test_without_a_gain_on_val_there_is_none_and_all_members_are_trained(run, monkeypatch, trained):
    assert not isinstance(trained.net, Committee)
    monkeypatch.setattr(module, "LEAST_GAIN", 1.0)
    plain, epochs = fitted(run)
    assert epochs == [("first", 1), ("context", 1), ("context", 2), ("committee", 1)]
    assert plain.context is None
    assert len(plain.net.members) == 2


@pytest.mark.parametrize(("minutes", "left"), [(None, None), (10.0, 8.0), (3.9, None)])
def test_all_members_get_what_is_left_of_the_time(minutes, left):
    settings = NodeTraining(members=3, max_minutes=minutes)
    rest = module._rest_of_time(settings, seconds=120.0)
    if minutes is None:
        assert rest == settings
    else:
        assert (rest and rest.max_minutes) == left


def test_checkpoint_and_bundle_give_the_same_masks(run, trained, tmp_path):
    recipe = recipe_for(run, "rag")
    wanted = masks(run, node_model_of(trained, recipe, "cpu"))
    save_checkpoint(tmp_path / "c", trained, extra={})
    again = load_checkpoint(tmp_path / "c").trained
    assert isinstance(again, TrainedNodeNet)
    for ours, theirs in zip(masks(run, node_model_of(again, recipe, "cpu")), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    colours = ("#000000", "#ffffff", "#888888")
    n_classes = trained.net.n_classes
    write_bundle(
        tmp_path / "a", trained, name="n",
        recipe=recipe.model_dump(mode="json"), n_dims=2, n_channels=1,
        classes=[ClassInfo(id=k, name=str(k), colour=colours[k]) for k in range(n_classes)],
        pixel_size_um_range=None, metrics={},
        memory=memory_contract(recipe, 1, context_factor=trained.context.factor),
        data_sha256="", code_sha256="",
    )  # fmt: skip
    export_context(trained.context.net, tmp_path / CONTEXT_FILE, n_channels=1)
    assert len({sha256_file(p / CONTEXT_FILE) for p in (tmp_path, tmp_path / "a")}) == 1
    bundle = load_bundle(tmp_path / "a")
    assert CONTEXT_FILE in bundle.card.parts_sha256
    model = open_model(bundle, device="cpu")
    for ours, theirs in zip(masks(run, model), wanted, strict=True):
        assert (ours != theirs).mean() < 1e-4
    without = masks(run, replace(model, context=None))
    assert any((a != b).any() for a, b in zip(without, wanted, strict=True))


def test_deeper_networks_than_tiles_allow_are_refused(tmp_path):
    path = tmp_path / "params.yaml"
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    deep = "context: {channels: [8, 8, 8, 8, 8]}"
    path.write_text(text.replace("context: null", deep, 1), encoding="utf-8")
    with pytest.raises(InputError, match="channels"):
        load_params(path)
