"""The proof that an exported network gives what the trained one gives."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spixgraph.arrays import Float32, Float64, Int64
from spixgraph.errors import GateError
from spixgraph.nets.node_net import NodeNet
from spixgraph.predict.onnx_predictor import OnnxPredictor

SIZES = (1, 53, 40_000)
THREADS = (1, 4)
"""Wrong rows of onnxruntime's scatter appeared on several threads, at 40,000 nodes."""
_N_HUBS = 3
_EDGES_PER_HUB = 100
_EDGES_PER_NODE = 6


@dataclass(frozen=True, slots=True)
class ParityCase:
    """One comparison; `difference` as in `ParityReport`."""

    n_regions: int
    n_edges: int
    threads: int
    difference: float


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What was compared.

    Attributes
    ----------
    max_difference : float
        Largest difference of a logit or a pixel weight between ONNX in float32 and torch in
        float64, in units of the largest one of its case, or of 1 where that is larger.
    cases : tuple of ParityCase
    """

    max_difference: float
    cases: tuple[ParityCase, ...]


def prove_parity(
    net: NodeNet,
    onnx_path: Path,
    *,
    max_difference: float = 1e-4,
    sizes: Sequence[int] = SIZES,
    threads: Sequence[int] = THREADS,
) -> ParityReport:
    """Compare `net` with its export on graphs that the exporter has not seen.

    Each size is tried without edges, and with isolated nodes beside nodes of 100 neighbours and
    more, which need surplus rows. The torch side is the scatter form in float64, so that the
    gather form is proven too.

    Parameters
    ----------
    net : NodeNet
        On the CPU.
    onnx_path : Path
    max_difference : float
        The limit, as in `ParityReport`.
    sizes, threads : sequence of int
        Numbers of nodes, and of onnxruntime's threads.

    Raises
    ------
    GateError
        If a logit differs by more than the limit, or is not finite.
    """
    exact = copy.deepcopy(net).double().eval()
    predictors = {t: OnnxPredictor(onnx_path, device="cpu", threads=t) for t in threads}
    rng = np.random.default_rng(0)
    cases = []
    for n in sizes:
        for edge_index in (np.zeros((2, 0), np.int64), _uneven_edges(n, rng)):
            x, edge_attr = _inputs(net, n, edge_index.shape[1], rng)
            wanted = _float64_outputs(exact, x, edge_index, edge_attr)
            for count, predictor in predictors.items():
                got = predictor.outputs(x, edge_index, edge_attr)
                difference = max(_difference(g, w) for g, w in zip(got, wanted, strict=True))
                cases.append(ParityCase(n, edge_index.shape[1], count, difference))
    return _judge(cases, onnx_path, max_difference)


def _judge(cases: list[ParityCase], path: Path, limit: float) -> ParityReport:
    worst = max(cases, key=lambda case: case.difference)
    if not worst.difference <= limit:
        raise GateError(
            f"{path} differs from the trained network by {worst.difference:.2g}, {limit:g} is the "
            f"limit ({worst.n_regions} nodes, {worst.n_edges} edges, {worst.threads} threads); "
            "don't ship it, and export it again with the versions of constraints.txt"
        )
    return ParityReport(worst.difference, tuple(cases))


def _uneven_edges(n: int, rng: np.random.Generator) -> Int64:
    """Draw edges to the first half of the nodes, many of them to a few."""
    targets = rng.integers(0, max(1, n // 2), _EDGES_PER_NODE * n)
    hubs = np.repeat(rng.integers(0, n, _N_HUBS), _EDGES_PER_HUB)
    target = np.concatenate([targets, hubs])
    edges = np.stack([rng.integers(0, n, len(target)), target])
    return edges[:, np.lexsort(edges)]


def _inputs(
    net: NodeNet, n: int, n_edges: int, rng: np.random.Generator
) -> tuple[Float32, Float32]:
    """Draw standardised features of both signs."""
    x = rng.normal(size=(n, net.n_features)).astype(np.float32)
    return x, rng.normal(size=(n_edges, net.n_edge_features)).astype(np.float32)


@torch.no_grad()
def _float64_outputs(
    net: NodeNet, x: Float32, edge_index: Int64, edge_attr: Float32
) -> tuple[Float64, ...]:
    outputs = net.outputs(
        torch.from_numpy(x).double(),
        torch.from_numpy(edge_index),
        torch.from_numpy(edge_attr).double(),
    )
    return tuple(output.numpy() for output in outputs)


def _difference(got: Float32, wanted: Float64) -> float:
    """Largest difference in units of the largest value; infinite where one is not finite."""
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - wanted).max() / max(1.0, np.abs(wanted).max()))
