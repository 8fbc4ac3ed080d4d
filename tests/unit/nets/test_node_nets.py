import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spixgraph.arrays import Int64
from spixgraph.errors import InputError
from spixgraph.graph.neighbour_table import neighbour_table
from spixgraph.nets.build import build_node_net, n_parameters
from spixgraph.nets.decoder import pixel_logits
from spixgraph.nets.node_net import NodeNet
from tests.toy_graphs import random_arrays, random_edges

KINDS = ("gnn", "mlp", "paper")


def build(kind: str, *, layers: int = 3) -> NodeNet:
    torch.manual_seed(0)
    net = build_node_net(
        kind,
        n_features=7,
        n_edge_features=4,
        n_classes=3,
        hidden=16,
        layers=layers,
        dropout=0.2,
        n_pixel_columns=0 if kind == "paper" else 5,
        n_pixel_hidden=0 if kind == "paper" else 2,
    )
    with torch.no_grad():  # LayerNorm starts at 1 and 0, branches at 0: that would hide faults
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return net.eval()


def committee(kind: str) -> NodeNet:
    torch.manual_seed(0)
    columns = 0 if kind == "paper" else 5
    return build_node_net(
        kind, n_features=7, n_edge_features=4, n_classes=3, hidden=16, layers=2, dropout=0.0,
        n_pixel_columns=columns, members=3,
    ).eval()  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_committee_says_the_mean_of_its_members(kind: str) -> None:
    n, edges = GRAPHS["dense"]
    x, edge_index, edge_attr = tensors(n, edges)
    net = committee(kind)
    said = [member.outputs(x, edge_index, edge_attr) for member in net.members]
    assert len(said) == 3
    assert not torch.equal(said[0][0], said[1][0])
    table = [torch.from_numpy(a) for a in neighbour_table(edges, n).as_inputs().values()]
    by_table = net.forward_table(x, edge_attr, *table)
    for k, both in enumerate(zip(net.outputs(x, edge_index, edge_attr), by_table, strict=True)):
        wanted = sum(answer[k] for answer in said) / 3
        for found in both:
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(net(x, edge_index, edge_attr), net.outputs(x, edge_index, edge_attr)[0])
    assert n_parameters(net) == sum(n_parameters(member) for member in net.members)


def tensors(n: int, edges: Int64) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(1)
    x, edge_attr = random_arrays(rng, n, edges.shape[1], features=7, edge_features=4)
    return torch.from_numpy(x), torch.from_numpy(edges), torch.from_numpy(edge_attr)


def star(n: int, n_edges: int) -> Int64:
    """All edges end in node 0 or 2, far more than a row of the table holds."""
    rng = np.random.default_rng(2)
    return np.stack([rng.integers(0, n, n_edges), np.sort(rng.choice([0, 2], n_edges))])


GRAPHS = {
    "one node": (1, np.zeros((2, 0), np.int64)),
    "one node, a loop": (1, np.zeros((2, 1), np.int64)),
    "no edges": (53, np.zeros((2, 0), np.int64)),
    "many isolated nodes": (53, random_edges(np.random.default_rng(3), 53, 20)),
    "dense": (53, random_edges(np.random.default_rng(4), 53, 400)),
    "hubs": (30, star(30, 200)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", GRAPHS)
@torch.no_grad()
def test_table_form_equals_scatter_form(kind: str, case: str) -> None:
    n, edges = GRAPHS[case]
    x, edge_index, edge_attr = tensors(n, edges)
    net = build(kind).double()  # in float64, what differs is a fault and not rounding
    table = neighbour_table(edges, n).as_inputs()
    by_table = net.forward_table(
        x.double(), edge_attr.double(), *(torch.from_numpy(a) for a in table.values())
    )
    wanted = net.outputs(x.double(), edge_index, edge_attr.double())
    assert [tuple(out.shape) for out in by_table] == [(n, 3), (n, 3, 7)][: len(wanted)]
    assert len(wanted) == (1 if kind == "paper" else 2)
    torch.testing.assert_close(by_table, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(net(x.double(), edge_index, edge_attr.double()), wanted[0])


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_table_form_equals_scatter_form_in_float32(kind: str) -> None:
    n, edges = GRAPHS["hubs"]
    x, edge_index, edge_attr = tensors(n, edges)
    net = build(kind)
    table = (torch.from_numpy(a) for a in neighbour_table(edges, n).as_inputs().values())
    wanted = net(x, edge_index, edge_attr)
    scale = wanted.abs().max().item()
    by_table = net.forward_table(x, edge_attr, *table)[0]
    torch.testing.assert_close(by_table / scale, wanted / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_order_of_nodes_and_edges_does_not_matter(kind: str) -> None:
    n, edges = GRAPHS["dense"]
    x, edge_index, edge_attr = tensors(n, edges)
    net, generator = build(kind), torch.Generator().manual_seed(5)
    perm = torch.randperm(n, generator=generator)
    order = torch.randperm(edges.shape[1], generator=generator)
    renamed = torch.argsort(perm)[edge_index]
    moved = net(x[perm], renamed[:, order], edge_attr[order])
    torch.testing.assert_close(moved, net(x, edge_index, edge_attr)[perm], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["gnn", "paper"])
@torch.no_grad()
def test_neighbours_and_edges_are_seen(kind: str) -> None:
    n, edges = GRAPHS["dense"]
    x, edge_index, edge_attr = tensors(n, edges)
    net = build(kind)
    logits = net(x, edge_index, edge_attr)
    assert (logits - net(x, edge_index.flip(0), edge_attr)).abs().max() > 1e-3
    assert (logits - net(x, edge_index, -edge_attr)).abs().max() > 1e-3


@torch.no_grad()
def test_paper_layer_matches_its_formula() -> None:
    net = build("paper", layers=1)
    x, edge_index, edge_attr = tensors(4, np.array([[0, 1, 3], [2, 2, 0]]))
    near = torch.zeros(4, 7)
    near[2] = edge_attr[0, 0] * x[0] + edge_attr[1, 0] * x[1]
    near[0] = edge_attr[2, 0] * x[3]
    (conv,) = net.convs  # type: ignore[misc]  # one GraphConv
    wanted = near @ conv.lin_rel.weight.T + conv.lin_rel.bias + x @ conv.lin_root.weight.T
    torch.testing.assert_close(net(x, edge_index, edge_attr), wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_mlp_ignores_edges() -> None:
    n, edges = GRAPHS["dense"]
    x, edge_index, edge_attr = tensors(n, edges)
    net = build("mlp")
    assert torch.equal(net(x, edge_index, edge_attr), net(x, edge_index[:, :0], edge_attr[:0]))


def test_an_untrained_gnn_is_the_network_without_messages() -> None:
    n, edges = GRAPHS["dense"]
    x, edge_index, edge_attr = tensors(n, edges)
    torch.manual_seed(0)
    net = build_node_net(
        "gnn", n_features=7, n_edge_features=4, n_classes=3, hidden=16, layers=4, dropout=0.0
    )
    with torch.no_grad():
        alone = net(x, edge_index[:, :0], edge_attr[:0])
        torch.testing.assert_close(net(x, edge_index, edge_attr), alone)


def test_gnn_is_small() -> None:
    net = build_node_net(
        "gnn",
        n_features=69,
        n_edge_features=8,
        n_classes=2,
        hidden=64,
        layers=6,
        dropout=0.0,
        n_pixel_columns=15,
    )
    assert n_parameters(net) == 100_128


@torch.no_grad()
def test_pixels_are_decoded_one_by_one() -> None:
    """Slow twin: one pixel at a time."""
    n, edges = GRAPHS["dense"]
    net = build("gnn")
    logits, weights = net.outputs(*tensors(n, edges))
    values = torch.randn(n, 4, 5, generator=torch.Generator().manual_seed(6))
    got = pixel_logits(logits, weights, values, net.pixel_layer)
    assert got.shape == (n, 4, 3)
    assert net.decoder is not None
    assert net.decoder.layer is not None
    assert (net.decoder.layer(values) > 0).any()
    for node, pixel in [(0, 0), (7, 3), (n - 1, 1)]:
        hidden = torch.relu(net.decoder.layer(values[node, pixel]))
        wanted = logits[node] + weights[node] @ torch.cat([values[node, pixel], hidden])
        torch.testing.assert_close(got[node, pixel], wanted)


@pytest.mark.parametrize("kind", ["gnn", "mlp"])
@torch.no_grad()
def test_pixels_of_a_committee_are_the_mean_of_those_of_its_members(kind: str) -> None:
    n, edges = GRAPHS["dense"]
    torch.manual_seed(0)
    net = build_node_net(
        kind, n_features=7, n_edge_features=4, n_classes=3, hidden=16, layers=2, dropout=0.0,
        n_pixel_columns=5, n_pixel_hidden=4, members=3,
    ).eval()  # fmt: skip
    graph = tensors(n, edges)
    values = torch.randn(n, 6, 5, generator=torch.Generator().manual_seed(6))

    def decoded(of: NodeNet) -> Tensor:
        logits, weights = of.outputs(*graph)
        assert weights.shape == (n, 3, 5 + 4 * len(of.members))
        return pixel_logits(logits, weights, values, of.pixel_layer)

    wanted = torch.stack([decoded(member) for member in net.members]).mean(0)
    torch.testing.assert_close(decoded(net), wanted, rtol=1e-4, atol=1e-5)
    table = [torch.from_numpy(a) for a in neighbour_table(edges, n).as_inputs().values()]
    by_table = net.forward_table(graph[0], graph[2], *table)
    torch.testing.assert_close(by_table, net.outputs(*graph), rtol=1e-4, atol=1e-5)


def test_the_paper_network_has_no_decoder() -> None:
    with pytest.raises(InputError, match="no pixel decoder"):
        build_node_net(
            "paper",
            n_features=3,
            n_edge_features=1,
            n_classes=2,
            hidden=4,
            layers=2,
            dropout=0.0,
            n_pixel_columns=5,
        )


@pytest.mark.parametrize(
    ("kind", "change"),
    [("sage", {}), ("gnn", {"hidden": 0}), ("gnn", {"dropout": 1.0}), ("paper", {"layers": 0})],
)
def test_bad_settings_are_refused(kind: str, change: dict[str, Any]) -> None:
    sizes = {"n_features": 3, "n_edge_features": 1, "n_classes": 2, "hidden": 4, "layers": 2}
    settings: dict[str, Any] = {**sizes, "dropout": 0.0, **change}
    with pytest.raises(InputError, match="got"):
        build_node_net(kind, **settings)


def test_the_mlp_needs_no_torch_geometric() -> None:
    code = (
        "import sys; sys.modules['torch_geometric'] = None; sys.modules['monai'] = None\n"
        "from spixgraph.nets.build import build_node_net\n"
        "build_node_net('mlp', n_features=1, n_edge_features=0, n_classes=2, hidden=2, layers=0,"
        " dropout=0.0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
