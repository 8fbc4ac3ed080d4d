"""A graph that is walked in parts gives the loss and the gradients of the whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from spixgraph.graph.image_samples import image_samples
from spixgraph.graph.image_scaling import Scalings
from spixgraph.graph.region_graph import RegionGraph, load_graph
from spixgraph.graph.scaling import fit_scaling
from spixgraph.graph.stream import StreamedGraph, stream_graph
from spixgraph.graph.targets import with_targets
from spixgraph.io.images import ArraySource
from spixgraph.nets.build import build_node_net
from spixgraph.train import node_sample
from spixgraph.train.node_lesson import NodeLesson
from tests.toy_bundle import blob_image

CPU = torch.device("cpu")
LAYERS = 2


@pytest.fixture(scope="module")
def streamed(tmp_path_factory):
    """A graph of six blocks with its pixel samples; a corner is not annotated."""
    pixels = blob_image(1100).read(slice(None), slice(0, 1100), slice(0, 600))
    mask = (pixels[..., 0] > 105).astype(np.uint8)
    mask[:, :200, :200] = 255
    source = ArraySource(pixels, None)
    path = tmp_path_factory.mktemp("g") / "g.zarr"
    stream_graph(source, path, nodes_per_megapixel=3000.0, workers=1)
    made = StreamedGraph.open(path)
    labels = np.empty(made.shape_zyx, np.int32)
    for i, number in enumerate(made.numbers.tolist()):
        labels[made.plan.blocks.basins.grid.box(number)] = made.block_labels(i)
    graph = with_targets(load_graph(path), labels, mask, 2)
    return graph, image_samples(source, made, mask)


def lesson_of(streamed, *, decoder: bool, dropout: float = 0.0) -> NodeLesson:
    graph, samples = streamed
    pixels = samples.values.reshape(-1, len(samples.names)).astype(np.float32)
    scalings = Scalings(
        fit_scaling([graph.x], graph.feature_names),
        fit_scaling([graph.edge_attr], graph.edge_feature_names),
        fit_scaling([pixels], samples.names) if decoder else None,
    )
    torch.manual_seed(0)
    net = build_node_net(
        kind="gnn",
        n_features=len(graph.feature_names),
        n_edge_features=len(graph.edge_feature_names),
        n_classes=2,
        hidden=8,
        layers=LAYERS,
        dropout=dropout,
        n_pixel_columns=len(samples.names) if decoder else 0,
    )
    for (
        weight
    ) in net.parameters():  # the last layers start at zero, which would hide the neighbours
        torch.nn.init.normal_(weight, std=0.2)
    given = ([samples], [samples]) if decoder else None
    return NodeLesson(
        net, scalings, [graph], [graph], given, augmented=True, device=CPU, n_layers=LAYERS
    )


def step(lesson: NodeLesson) -> tuple[Tensor, list[Tensor], int]:
    """The first loss of an epoch, its gradients, and the bytes held for the backward pass."""
    held = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal held
        held += tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(1)
    lesson.net.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = next(lesson.losses(np.random.default_rng(0)))
        made = held
    torch.autograd.backward(loss)
    return loss.detach(), [p.grad for p in lesson.net.parameters() if p.grad is not None], made


@pytest.mark.parametrize("decoder", [False, True])
def test_loss_and_gradients_are_those_of_the_whole(streamed, decoder, monkeypatch):
    whole = lesson_of(streamed, decoder=decoder)
    limit = streamed[0].n_regions * 2 // 3
    monkeypatch.setattr(node_sample, "MAX_NODES", limit)
    parted = lesson_of(streamed, decoder=decoder)
    assert whole.train[0].parts == ()
    assert len(parted.train[0].parts) > 1
    assert max(len(part.nodes) for part in parted.train[0].parts) <= limit
    loss, gradients, held = step(whole)
    loss_of_parts, gradients_of_parts, held_of_parts = step(parted)
    torch.testing.assert_close(loss_of_parts, loss, rtol=1e-6, atol=1e-6)
    assert len(gradients) == len(gradients_of_parts) > 10
    for ours, theirs in zip(gradients_of_parts, gradients, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert held_of_parts < 0.7 * held
    np.testing.assert_array_equal(parted.confusion(), whole.confusion())


def test_a_halo_that_is_too_small_would_show(streamed, monkeypatch):
    monkeypatch.setattr(node_sample, "MAX_NODES", streamed[0].n_regions * 2 // 3)
    right, wrong = (lesson_of(streamed, decoder=True) for _ in range(2))
    near = node_sample.parts_of(
        streamed[0], n_layers=LAYERS - 1, max_nodes=streamed[0].n_regions * 2 // 3
    )
    wrong.train[0] = replace(wrong.train[0], parts=near)
    assert abs(step(right)[0] - step(wrong)[0]) > 1e-6


def test_dropout_is_the_same_in_both_passes(streamed, monkeypatch):
    monkeypatch.setattr(node_sample, "MAX_NODES", streamed[0].n_regions * 2 // 3)
    first, again = (step(lesson_of(streamed, decoder=True, dropout=0.5)) for _ in range(2))
    assert first[0] == again[0]
    for ours, theirs in zip(first[1], again[1], strict=True):
        assert torch.equal(ours, theirs)


def test_graphs_without_blocks_stay_whole(streamed, monkeypatch):
    monkeypatch.setattr(node_sample, "MAX_NODES", 10)
    graph: RegionGraph = streamed[0]
    scalings = Scalings(
        fit_scaling([graph.x], graph.feature_names),
        fit_scaling([graph.edge_attr], graph.edge_feature_names),
    )
    assert node_sample.sample_of(graph, None, scalings, own_share=0.0).parts == ()
