"""The compiled sums of messages equal those of torch, in value and in gradient."""

import numpy as np
import pytest
import torch
from torch import Tensor

from spixgraph.nets.messages import Edges, message_sums, sums_by_torch
from tests.toy_graphs import random_edges

N, WIDTH = 300, 5


def arrays(n_edges: int, n_columns: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Edges]:
    rng = np.random.default_rng(0)
    edge_index = random_edges(rng, N, n_edges) if n_edges else np.zeros((2, 0), np.int64)
    shuffled = torch.from_numpy(edge_index[:, rng.permutation(edge_index.shape[1])])
    ends, weight, attr = (
        torch.from_numpy(rng.standard_normal(shape)).to(dtype)
        for shape in ((N, 2 * WIDTH), (WIDTH, n_columns), (shuffled.shape[1], n_columns))
    )
    return ends.requires_grad_(), weight.requires_grad_(), Edges.of(shuffled, attr, N)


@pytest.mark.parametrize("n_columns", [0, 1, 4, 7])
@pytest.mark.parametrize("n_edges", [0, 1, 2000])
def test_sums_and_slopes_are_those_of_torch(n_edges: int, n_columns: int) -> None:
    ends, weight, edges = arrays(n_edges, n_columns, torch.float64)
    found, wanted = message_sums(ends, weight, edges), sums_by_torch(ends, weight, edges)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    slope = torch.randn(wanted.shape, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(out, (ends, weight), slope) for out in (found, wanted))
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    assert n_edges < 2 or theirs[0].abs().max() > 0.1


def test_float32_rounds_no_worse_than_torch() -> None:
    exact, *others = (
        torch.autograd.grad(sums(ends, weight, edges).square().sum(), weight)[0].double()
        for sums, dtype in ((sums_by_torch, torch.float64), (message_sums, torch.float32))
        for ends, weight, edges in [arrays(20_000, 7, dtype)]
    )
    torch.testing.assert_close(others[0], exact, rtol=1e-5, atol=1e-5 * exact.abs().max().item())


def test_nothing_as_long_as_the_edges_is_held() -> None:
    ends, weight, edges = arrays(20_000, 7, torch.float32)
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        held[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        message_sums(ends, weight, edges)
    of_graph = {tensor.data_ptr() for tensor in edges}
    assert max(size for at, size in held.items() if at not in of_graph) == ends.numel()


def test_edges_of_each_node_lie_together() -> None:
    _, _, edges = arrays(500, 2, torch.float32)
    assert (edges.target.diff() >= 0).all()
    for node in (0, 7, N - 1):
        begin, end = edges.start[node : node + 2].tolist()
        assert (edges.target[begin:end] == node).all()
    assert edges.start[-1] == len(edges.source)
    assert torch.equal(edges.degree()[:, 0], torch.bincount(edges.target, minlength=N).clamp(min=1))


def test_slopes_of_edge_columns_are_not_lost() -> None:
    ends, weight, edges = arrays(100, 3, torch.float64)
    attr = edges.attr.requires_grad_()
    message_sums(ends, weight, edges._replace(attr=attr)).sum().backward()
    assert attr.grad is not None
    assert attr.grad.abs().max() > 0
