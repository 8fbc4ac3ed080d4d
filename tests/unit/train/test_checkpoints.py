import json
import math
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spixgraph.config.params import CnnTraining, NodeTraining
from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import sha256_tree
from spixgraph.nets.cnn import predict_cnn
from spixgraph.train.checkpoints import load_checkpoint, save_checkpoint
from spixgraph.train.cnn_training import TrainedCnn, train_cnn
from spixgraph.train.node_training import TrainedNodeNet, train_node_net
from spixgraph.train.patches import AnnotatedImage
from tests.toy_graphs import toy_graph

CPU = torch.device("cpu")
EXTRA = {"data_sha256": "ab" * 32, "recipe": {"graph": {"kind": "rag"}}}


def node_net(kind: str) -> TrainedNodeNet:
    graphs = [toy_graph(seed, side=6, weight=True) for seed in range(2)]
    params = NodeTraining(hidden=4, layers=1, epochs=2)
    return train_node_net(kind, graphs[:1], graphs[1:], params, seed=0, device=CPU)


@pytest.mark.parametrize("kind", ["gnn", "mlp", "paper"])
def test_node_net_comes_back(kind: str, tmp_path: Path) -> None:
    trained = node_net(kind)
    save_checkpoint(tmp_path / "a", trained, extra=EXTRA)
    back = load_checkpoint(tmp_path / "a")
    assert back.extra == EXTRA
    assert isinstance(back.trained, TrainedNodeNet)
    assert type(back.trained.net) is type(trained.net)
    assert not back.trained.net.training
    for name, weights in trained.net.state_dict().items():
        assert torch.equal(back.trained.net.state_dict()[name], weights)
    graph = toy_graph(5)
    for ours, theirs in (
        (trained.node_scaling.apply(graph.x), back.trained.node_scaling.apply(graph.x)),
        (
            trained.edge_scaling.apply(graph.edge_attr),
            back.trained.edge_scaling.apply(graph.edge_attr),
        ),
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert back.trained.node_scaling.names == trained.node_scaling.names
    assert back.trained.best_epoch == trained.best_epoch
    assert [replace(r, seconds=0) for r in back.trained.history] == [
        replace(r, seconds=0) for r in trained.history
    ]
    assert math.isnan(back.trained.history[0].seconds)


def test_cnn_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.random((1, 32, 32, 1), np.float32)
    item = AnnotatedImage(image, (image[..., 0] > 0.5).astype(np.uint8))
    params = CnnTraining(channels=(2, 2, 2), patch_px=32, batch=1, epochs=1, steps_per_epoch=1)
    trained = train_cnn([item], [item], params, n_classes=2, seed=0, device=CPU)
    save_checkpoint(tmp_path / "a", trained, extra={})
    back = load_checkpoint(tmp_path / "a").trained
    assert isinstance(back, TrainedCnn)
    wanted, mask = (
        predict_cnn(t.net, image, window_zyx=t.window_zyx, overlap=t.overlap, device="cpu")
        for t in (trained, back)
    )
    np.testing.assert_array_equal(mask, wanted)
    assert back.build == trained.build


def test_bytes_depend_on_content_alone(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", node_net("gnn"), extra=EXTRA)
    save_checkpoint(tmp_path / "elsewhere/b", node_net("gnn"), extra=EXTRA)
    again = load_checkpoint(tmp_path / "a")
    save_checkpoint(tmp_path / "c", again.trained, extra=again.extra)
    hashes = {sha256_tree(tmp_path / name) for name in ("a", "elsewhere/b", "c")}
    assert len(hashes) == 1
    entries = zipfile.ZipFile(tmp_path / "a/weights.npz").infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert [e.filename for e in entries] == sorted(e.filename for e in entries)
    assert "seconds" not in (tmp_path / "a/checkpoint.json").read_text()


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(folder)
    save_checkpoint(folder, node_net("mlp"), extra={})
    facts = json.loads((folder / "checkpoint.json").read_text())

    def refused(change: dict[str, object], match: str) -> None:
        (folder / "checkpoint.json").write_text(json.dumps(facts | change))
        with pytest.raises(StoredDataError, match=match):
            load_checkpoint(folder)

    refused({"schema_version": 99}, "schema 99")
    refused({"weights_sha256": "00"}, "damaged")
    refused({"build": facts["build"] | {"hidden": 5}}, "another network")
