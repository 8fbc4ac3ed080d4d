"""Sums of messages over the edges of a graph, without an array as long as the edges.

Written as torch operations, a layer makes and keeps six arrays of (edges, width) for the backward
pass, and walks memory for each of them. The compiled form goes edge by edge: a message lives in
registers, is added up, and is made again in the backward pass.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import relu

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel

_NODES_AT_ONCE = 256
"""Of the slope of the weight, a float32 sum over all edges: sums of sums round less."""


class Edges(NamedTuple):
    """Edges in the order of their targets.

    Attributes
    ----------
    source, target : (E,) int64
    start : (n + 1,) int64
        The edges that lead to node i are ``start[i]:start[i + 1]``.
    attr : (E, D) float
    """

    source: Tensor
    target: Tensor
    start: Tensor
    attr: Tensor

    @classmethod
    def of(cls, edge_index: Tensor, attr: Tensor, n_nodes: int) -> "Edges":
        """Sort (2, E) edges, in any order, by target; those of region graphs are sorted."""
        source, target = edge_index
        if not bool((target[1:] >= target[:-1]).all()):
            order = target.argsort(stable=True)
            source, target, attr = source[order], target[order], attr[order]
        start = target.new_zeros(n_nodes + 1)
        start[1:] = torch.bincount(target, minlength=n_nodes).cumsum(0)
        return cls(source, target, start, attr)

    def degree(self) -> Tensor:
        """Count the edges that lead to each node, at least 1: (n, 1) in the type of `attr`."""
        return self.start.diff().clamp(min=1)[:, None].to(self.attr.dtype)


def message_sums(ends: Tensor, weight: Tensor, edges: Edges) -> Tensor:
    """Add up ``relu(ends[j, :width] + ends[i, width:] + weight @ attr)`` over the edges j -> i.

    Parameters
    ----------
    ends : (n, 2 * width) float
        What a message takes from the node it comes from, and from the one it goes to.
    weight : (width, D) float
        Of the edge columns.
    edges : Edges

    Returns
    -------
    total : (n, width)
        Sums of each node, in the order of the edges. On the CPU by the compiled form, else by torch
        operations: equal but for rounding.
    """
    if ends.device.type == "cpu" and not edges.attr.requires_grad:
        total: Tensor = _MessageSums.apply(ends, weight, edges)  # type: ignore[no-untyped-call]  # torch has no types for it
        return total
    return sums_by_torch(ends, weight, edges)


def sums_by_torch(ends: Tensor, weight: Tensor, edges: Edges) -> Tensor:
    """Do the same by torch operations, on any device."""
    source, target = ends.chunk(2, dim=1)
    both = source.index_select(0, edges.source) + target.index_select(0, edges.target)
    message = relu(edges.attr @ weight.T + both)
    return torch.zeros_like(target).index_add(0, edges.target, message)


class _MessageSums(torch.autograd.Function):
    """The compiled form; holds its arguments alone for the backward pass."""

    @staticmethod
    def forward(ctx: Any, ends: Tensor, weight: Tensor, edges: Edges) -> Tensor:
        ctx.save_for_backward(ends, weight, *edges)
        total = ends.new_zeros(len(ends), len(weight))
        _add_messages(*_arrays(ends, weight, edges), total.numpy())
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        ends, weight, *edges = ctx.saved_tensors
        of_ends, of_weight = torch.zeros_like(ends), weight.new_zeros(weight.T.shape)
        slopes = (slope.contiguous().numpy(), of_ends.numpy(), of_weight.numpy())
        _add_slopes(*_arrays(ends, weight, Edges(*edges)), *slopes)
        return of_ends, of_weight.T, None


def _arrays(ends: Tensor, weight: Tensor, edges: Edges) -> tuple[Array, ...]:
    """Arguments of the kernels; the weight gets a row per edge column, so that widths are inner."""
    tensors = (ends, weight.T, edges.source, edges.start, edges.attr)
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)


# Strategy of the kernels: one edge after the other, its message in a buffer that stays in cache.
# - edges are sorted by target, so the row that a message is added to stays there, too;
# - the backward pass makes the message again: cheaper than to have kept it.


@kernel
def _write_message(
    ends: Array, weight: Array, attr: Array, j: int, i: int, e: int, out: Array
) -> None:
    """Write what is below the ReLU of the message of edge e from j to i."""
    width, n_columns = out.size, attr.shape[1]
    whole = n_columns - n_columns % 4  # four columns at once: half the time of one
    for c in range(width):
        out[c] = ends[j, c] + ends[i, width + c]
    for d in range(0, whole, 4):
        a0, a1, a2, a3 = attr[e, d], attr[e, d + 1], attr[e, d + 2], attr[e, d + 3]
        w0, w1, w2, w3 = weight[d], weight[d + 1], weight[d + 2], weight[d + 3]
        for c in range(width):
            out[c] += (a0 * w0[c] + a1 * w1[c]) + (a2 * w2[c] + a3 * w3[c])
    for d in range(whole, n_columns):
        value = attr[e, d]
        for c in range(width):
            out[c] += value * weight[d, c]


@kernel
def _add_messages(
    ends: Array, weight: Array, source_of: Array, start: Array, attr: Array, total: Array
) -> None:
    """Add the messages to each node to `total`."""
    n, width = total.shape
    message = np.empty(width, total.dtype)
    for i in range(n):
        for e in range(start[i], start[i + 1]):
            _write_message(ends, weight, attr, source_of[e], i, e, message)
            for c in range(width):
                total[i, c] += max(message[c], 0)


@kernel
def _add_slopes(
    ends: Array,
    weight: Array,
    source_of: Array,
    start: Array,
    attr: Array,
    slope: Array,
    of_ends: Array,
    of_weight: Array,
) -> None:
    """Carry the slope (n, width) of the loss by the sums back to what they were made of."""
    n, width = slope.shape
    message = np.empty(width, slope.dtype)
    some = np.zeros(weight.shape, weight.dtype)
    for i in range(n):
        for e in range(start[i], start[i + 1]):
            j = source_of[e]
            _write_message(ends, weight, attr, j, i, e, message)
            for c in range(width):
                message[c] = slope[i, c] if message[c] > 0 else 0
                of_ends[j, c] += message[c]
                of_ends[i, width + c] += message[c]
            for d in range(attr.shape[1]):
                value = attr[e, d]
                for c in range(width):
                    some[d, c] += value * message[c]
        if (i + 1) % _NODES_AT_ONCE == 0 or i + 1 == n:
            of_weight += some
            some[:] = 0
