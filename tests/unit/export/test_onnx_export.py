import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch

from spixgraph.export.onnx_export import export_onnx
from spixgraph.files import sha256_file
from spixgraph.nets.build import build_node_net
from spixgraph.nets.node_net import NodeNet

NET = (
    "build_node_net('gnn', n_features=5, n_edge_features=3, n_classes=2, hidden=8, layers=1,"
    " dropout=0.1)"
)


def build(kind: str) -> NodeNet:
    torch.manual_seed(0)
    return build_node_net(
        kind, n_features=5, n_edge_features=3, n_classes=2, hidden=8, layers=1, dropout=0.1
    )


@pytest.mark.parametrize("kind", ["gnn", "mlp", "paper"])
def test_inputs_and_outputs(kind: str, tmp_path: Path) -> None:
    net = build(kind).train()
    export_onnx(net, tmp_path / "model.onnx")
    assert net.training
    model = onnx.load(tmp_path / "model.onnx")
    shapes = {
        port.name: [d.dim_param or d.dim_value for d in port.type.tensor_type.shape.dim]
        for port in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "x": ["n", 5],
        "edge_attr": ["E", 3],
        "nbr": ["r", 8],
        "slot": ["r", 8],
        "owner": ["r"],
        "hub": ["h", "J"],
        "hub_of_node": ["n"],
        "degree": ["n"],
        "logits": ["n", 2],
    }
    operations = {node.op_type for node in model.graph.node}
    assert not {op for op in operations if "Scatter" in op or op in ("If", "Loop", "Dropout")}
    assert model.opset_import[0].version >= 18


def test_bytes_depend_on_weights_alone(tmp_path: Path) -> None:
    """Two folders, two processes, another hash seed, after another export."""
    first = tmp_path / "here" / "model.onnx"
    export_onnx(build("mlp"), tmp_path / "other.onnx")
    export_onnx(build("gnn"), first)
    second = tmp_path / "a longer folder" / "there" / "m.onnx"
    code = (
        "import sys, torch\nfrom pathlib import Path\n"
        "from spixgraph.export.onnx_export import export_onnx\n"
        "from spixgraph.nets.build import build_node_net\n"
        f"torch.manual_seed(0); export_onnx({NET}, Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, second],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONWARNINGS": "ignore"},
    )
    assert done.stdout == ""
    assert sha256_file(first) == sha256_file(second)


def test_no_traces_of_the_machine(tmp_path: Path) -> None:
    export_onnx(build("gnn"), tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    for trace in (b".py", str(Path.home()).encode(), str(Path.cwd()).encode(), b"site-packages"):
        assert trace not in content
