from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spixgraph.config.recipe import GraphRecipe
from spixgraph.errors import InputError
from spixgraph.export.bundle_writer import TrainedContext, write_bundle
from spixgraph.files import sha256_tree
from spixgraph.graph.scaling import Scaling
from spixgraph.nets.build import build_node_net
from spixgraph.nets.node_net import NodeNet
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.card import ClassInfo, MemoryContract
from spixgraph.predict.onnx_predictor import OnnxPredictor

CLASSES = (
    ClassInfo(id=0, name="background", colour="#000000"),
    ClassInfo(id=1, name="cell", colour="#ff0000"),
)


@dataclass
class Trained:
    net: NodeNet
    build: dict[str, Any]
    node_scaling: Scaling
    edge_scaling: Scaling
    pixel_scaling: Scaling | None = None
    temperature: float = 1.5
    context: TrainedContext | None = None


def trained(kind: str = "gnn", *, columns: tuple[str, ...] = (), n_hidden: int = 0) -> Trained:
    torch.manual_seed(0)
    sizes = {"n_features": 2, "n_edge_features": 1, "n_classes": 2, "layers": 1}
    build: dict[str, Any] = {"kind": kind, **sizes, "n_pixel_columns": len(columns)}
    build["n_pixel_hidden"] = n_hidden
    net = build_node_net(**build, hidden=4, dropout=0.0)
    nodes = Scaling(("mean", "std"), np.array([1.0, 2.0]), np.array([0.5, 1 / 3]))
    pixels = Scaling(columns, np.full(len(columns), 3.0), np.full(len(columns), 0.5))
    return Trained(net, build, nodes, Scaling.identity(("contact",)), pixels if columns else None)


def write(
    path: Path,
    kind: str = "gnn",
    *,
    columns: tuple[str, ...] = (),
    n_hidden: int = 0,
    **change: Any,
) -> str:
    facts: dict[str, Any] = {
        "name": "toy",
        "recipe": GraphRecipe().model_dump(mode="json"),
        "n_dims": 2,
        "n_channels": 1,
        "classes": CLASSES,
        "pixel_size_um_range": (0.5, 0.87),
        "metrics": {"macro_iou": 0.75},
        "memory": MemoryContract(base_bytes=1, bytes_per_pixel=2.0),
        "data_sha256": "ab" * 32,
        "code_sha256": "cd" * 32,
    }
    net = trained(kind, columns=columns, n_hidden=n_hidden)
    return write_bundle(path, net, **(facts | change))


def test_bundle_loads_and_predicts(tmp_path: Path) -> None:
    licence = tmp_path / "LICENSE"
    licence.write_text("CC0")
    sha256 = write(tmp_path / "bundle", documents=[licence])
    assert sha256 == sha256_tree(tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    assert sorted(p.name for p in bundle.path.iterdir()) == ["LICENSE", "card.json", "model.onnx"]
    assert (bundle.path / "LICENSE").read_text() == "CC0"
    card = bundle.card
    assert [(c.name, c.mean, c.scale) for c in card.node_features] == [
        ("mean", 1.0, 0.5),
        ("std", 2.0, 1 / 3),
    ]
    assert card.temperature == 1.5
    assert (card.network, card.classes, card.metrics) == ("gnn", CLASSES, {"macro_iou": 0.75})
    assert card.n_parameters == sum(p.numel() for p in trained().net.parameters())
    x, edges = np.ones((3, 2), np.float32), np.array([[0, 1], [1, 2]])
    edge_attr = np.ones((2, 1), np.float32)
    with torch.no_grad():
        wanted = trained().net(*map(torch.from_numpy, (x, edges, edge_attr)))
    logits = OnnxPredictor(bundle.model_path, device="cpu")(x, edges, edge_attr)
    np.testing.assert_allclose(logits, wanted, atol=1e-5)


def test_card_tells_of_the_decoder(tmp_path: Path) -> None:
    write(tmp_path / "plain")
    card = load_bundle(tmp_path / "plain").card
    assert (card.decoder, card.scaled_per_image, card.n_layers) == (None, False, 1)
    write(tmp_path / "bundle", columns=("c0_intensity", "place_y", "place_x"))
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.card.scaled_per_image
    assert bundle.card.decoder is not None
    columns = bundle.card.decoder.columns
    assert [(c.name, c.mean, c.scale) for c in columns[:1]] == [("c0_intensity", 3.0, 0.5)]
    x, edges = np.ones((3, 2), np.float32), np.array([[0, 1], [1, 2]])
    predictor = OnnxPredictor(bundle.model_path, device="cpu")
    logits, weights = predictor.with_weights(x, edges, np.ones((2, 1), np.float32))
    assert weights.shape == (3, 2, len(columns))
    np.testing.assert_array_equal(logits, predictor(x, edges, np.ones((2, 1), np.float32)))


def test_the_layer_of_hidden_values_goes_along(tmp_path: Path) -> None:
    columns = ("c0_intensity", "place_y", "place_x")
    write(tmp_path / "linear", columns=columns)
    linear = load_bundle(tmp_path / "linear")
    assert linear.pixel_layer() is None
    write(tmp_path / "bundle", columns=columns, n_hidden=2)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.card.decoder is not None
    assert bundle.card.decoder.n_hidden == 2
    layer = trained(columns=columns, n_hidden=2).net.pixel_layer
    assert layer is not None
    found = bundle.pixel_layer()
    assert found is not None
    np.testing.assert_array_equal(found, layer.detach().numpy())
    x, edges = np.ones((3, 2), np.float32), np.array([[0, 1], [1, 2]])
    predictor = OnnxPredictor(bundle.model_path, device="cpu")
    _, weights = predictor.with_weights(x, edges, np.ones((2, 1), np.float32))
    assert weights.shape == (3, 2, 3 + 2)


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    once = write(tmp_path / "a", "mlp")
    assert write(tmp_path / "b/c", "mlp") == once
    assert write(tmp_path / "a", "mlp") == once  # replaced
    assert write(tmp_path / "a", "mlp", name="other") != once


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 classes, but 1"):
        write(tmp_path / "a", classes=CLASSES[:1])
    with pytest.raises(InputError, match="names of their own"):
        write(tmp_path / "a", documents=[tmp_path / "x/card.json"])
    with pytest.raises(InputError, match="names of their own"):
        write(tmp_path / "a", documents=[tmp_path / "x/pixel_layer.npy"])
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "a", "mlp", documents=[tmp_path / "LICENSE"])
    assert list(tmp_path.iterdir()) == []
