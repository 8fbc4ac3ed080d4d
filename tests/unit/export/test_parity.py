from pathlib import Path

import pytest
import torch

from spixgraph.errors import GateError
from spixgraph.export.onnx_export import export_onnx
from spixgraph.export.parity import prove_parity
from spixgraph.nets.build import build_node_net
from spixgraph.nets.node_net import NodeNet


def build(kind: str, *, columns: int = 0, table_width: int = 8) -> NodeNet:
    torch.manual_seed(0)
    net = build_node_net(
        kind,
        n_features=6,
        n_edge_features=3,
        n_classes=3,
        hidden=16,
        layers=2,
        dropout=0.1,
        n_pixel_columns=columns,
        table_width=table_width,
    )
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return net


@pytest.mark.parametrize("kind", ["gnn", "mlp", "paper"])
def test_export_is_faithful(kind: str, tmp_path: Path) -> None:
    net = build(kind)
    export_onnx(net, tmp_path / "model.onnx")
    report = prove_parity(net, tmp_path / "model.onnx", sizes=(1, 53, 3000), max_difference=1e-5)
    assert {case.n_regions for case in report.cases} == {1, 53, 3000}
    assert {case.threads for case in report.cases} == {1, 4}
    assert {case.n_edges for case in report.cases} == {0, 306, 618, 18_300}
    assert report.max_difference == max(case.difference for case in report.cases)
    assert next(net.parameters()).dtype == torch.float32  # the float64 twin is a copy


@pytest.mark.parametrize("kind", ["gnn", "mlp"])
def test_pixel_weights_are_faithful(kind: str, tmp_path: Path) -> None:
    net = build(kind, columns=5, table_width=16)
    export_onnx(net, tmp_path / "model.onnx")
    report = prove_parity(net, tmp_path / "model.onnx", sizes=(1, 53), max_difference=1e-5)
    assert report.max_difference > 0
    assert net.decoder is not None
    with torch.no_grad():
        net.decoder.weight.bias[3] += 1e-2
    with pytest.raises(GateError, match="is the limit"):
        prove_parity(net, tmp_path / "model.onnx", sizes=(53,))


@pytest.mark.parametrize("change", [1e-2, float("nan")])
def test_other_weights_are_refused(change: float, tmp_path: Path) -> None:
    net = build("mlp")
    export_onnx(net, tmp_path / "model.onnx")
    with torch.no_grad():
        next(net.parameters())[0, 0] += change
    with pytest.raises(GateError, match="is the limit"):
        prove_parity(net, tmp_path / "model.onnx", sizes=(53,))
