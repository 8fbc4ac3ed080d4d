"""A graph that is walked in parts gives the loss and the gradients of the whole."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spixgraph.graph.image_samples import SAMPLES, save_taught
from spixgraph.graph.image_scaling import Scalings
from spixgraph.graph.pixel_samples import load_samples, open_samples
from spixgraph.graph.region_graph import load_graph
from spixgraph.graph.scaling import fit_scaling
from spixgraph.graph.stored_graph import StoredGraph
from spixgraph.graph.stream import stream_graph
from spixgraph.io.images import ArraySource
from spixgraph.nets.build import build_node_net
from spixgraph.train import node_lesson, parts
from spixgraph.train.large_sample import LargeSample, learned_sample, noise_of
from spixgraph.train.losses import area_loss, area_sums, loss_of_sums
from spixgraph.train.node_lesson import NodeLesson
from spixgraph.train.node_sample import Sample
from spixgraph.train.window import draw_window
from tests.toy_bundle import blob_image

CPU = torch.device("cpu")
LAYERS = 2


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """A graph of six blocks with its pixel samples; a corner is not annotated."""
    pixels = blob_image(1100).read(slice(None), slice(0, 1100), slice(0, 600))
    mask = (pixels[..., 0] > 105).astype(np.uint8)
    mask[:, :200, :200] = 255
    source = ArraySource(pixels, None)
    folder = tmp_path_factory.mktemp("g")
    made = stream_graph(source, folder / "made.zarr", nodes_per_megapixel=3000.0, workers=1)
    save_taught(source, made, mask, 2, folder / "g.zarr")
    return folder / "g.zarr"


@pytest.fixture
def limit(stored, monkeypatch) -> int:
    """Cut the graph of `stored`, and disturb nothing: parts have noise of their own."""
    n = StoredGraph.open(stored).n_regions
    monkeypatch.setattr(parts, "MAX_NODES", n - 1)
    monkeypatch.setattr(parts, "PART_NODES", n * 2 // 3)
    return n * 2 // 3


def lesson_of(
    stored: Path,
    folder: Path,
    *,
    decoder: bool,
    dropout: float = 0.0,
    on_disk: bool = True,
    nodes_per_step: int | None = None,
    noise: float = 0.0,
) -> NodeLesson:
    graph, samples = load_graph(stored), load_samples(stored / SAMPLES)
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
    learned = [StoredGraph.open(stored) if on_disk else graph]
    values = [open_samples(stored / SAMPLES) if on_disk else samples]
    return NodeLesson(
        net, scalings, learned, learned, (values, values) if decoder else None,
        augmented=True, noise=noise, device=CPU, n_layers=LAYERS, nodes_per_step=nodes_per_step,
        folder=folder,
    )  # fmt: skip


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
        loss = next(lesson.steps(np.random.default_rng(0))).loss()
        made = held
    torch.autograd.backward(loss)
    return loss.detach(), [p.grad for p in lesson.net.parameters() if p.grad is not None], made


@pytest.mark.parametrize("decoder", [False, True])
@pytest.mark.parametrize("on_disk", [False, True])
def test_loss_and_gradients_are_those_of_the_whole(
    stored, decoder, on_disk, tmp_path, monkeypatch, request
):
    whole = lesson_of(stored, tmp_path, decoder=decoder, on_disk=on_disk)
    limit = request.getfixturevalue("limit")
    parted = lesson_of(stored, tmp_path, decoder=decoder, on_disk=on_disk)
    sample = parted.train[0]
    assert isinstance(whole.train[0], Sample)
    assert isinstance(sample, LargeSample)
    assert len(sample.parts) > 1
    assert max(len(part.nodes) for part in sample.parts) <= limit
    loss, gradients, held = step(whole)
    loss_of_parts, gradients_of_parts, held_of_parts = step(parted)
    torch.testing.assert_close(loss_of_parts, loss, rtol=1e-6, atol=1e-6)
    assert len(gradients) == len(gradients_of_parts) > 10
    for ours, theirs in zip(gradients_of_parts, gradients, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert held_of_parts < 0.01 * held  # a few sums
    np.testing.assert_array_equal(parted.confusion(), whole.confusion())


def test_small_graphs_beyond_the_room_in_memory_stay_on_disk(stored, tmp_path, monkeypatch):
    of_windows = partial(lesson_of, stored, tmp_path, decoder=True, noise=0.1)
    n = StoredGraph.open(stored).n_regions
    held = of_windows(nodes_per_step=n // 3)
    monkeypatch.setattr(node_lesson, "HELD_NODES", 2 * n - 1)  # of training and validation
    half = of_windows(nodes_per_step=n // 3)
    monkeypatch.setattr(node_lesson, "HELD_NODES", n - 1)
    read = of_windows(nodes_per_step=n // 3)
    kinds = [[type(lesson.train[0]), type(lesson.val[0])] for lesson in (held, half, read)]
    assert kinds == [[Sample, Sample], [Sample, LargeSample], [LargeSample, LargeSample]]
    loss, gradients, _ = step(held)
    loss_of_read, gradients_of_read, _ = step(read)
    assert loss == loss_of_read
    for ours, theirs in zip(gradients_of_read, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    np.testing.assert_array_equal(read.confusion(), held.confusion())
    whole = lesson_of(stored, tmp_path, decoder=True)
    assert isinstance(whole.train[0], Sample)  # without windows, parts would cost a second pass


def test_members_take_turns_on_large_graphs_alone(stored, tmp_path, monkeypatch):
    n = StoredGraph.open(stored).n_regions
    monkeypatch.setattr(parts, "MAX_NODES", n - 1)
    monkeypatch.setattr(node_lesson, "HELD_NODES", n)
    lesson = lesson_of(stored, tmp_path, decoder=True, nodes_per_step=n // 3)
    assert isinstance(lesson.train[0], LargeSample)
    assert lesson.in_threads
    monkeypatch.setattr(node_lesson, "HELD_NODES", n - 1)
    assert not lesson.in_threads
    assert not lesson_of(stored, tmp_path, decoder=True).in_threads  # whole graphs


def test_a_halo_that_is_too_small_would_show(stored, limit, tmp_path):
    right, wrong = (lesson_of(stored, tmp_path, decoder=True) for _ in range(2))
    near = parts.parts_of(StoredGraph.open(stored), n_layers=LAYERS - 1, part_nodes=limit)
    object.__setattr__(wrong.train[0], "parts", list(near))
    assert abs(step(right)[0] - step(wrong)[0]) > 1e-6


def test_dropout_is_the_same_in_both_passes(stored, limit, tmp_path):
    first, again = (step(lesson_of(stored, tmp_path, decoder=True, dropout=0.5)) for _ in range(2))
    assert first[0] == again[0]
    for ours, theirs in zip(first[1], again[1], strict=True):
        assert torch.equal(ours, theirs)


def test_parts_come_back_from_disk_and_large_blocks_stay_whole(stored, tmp_path):
    graph = StoredGraph.open(stored)
    made = list(parts.parts_of(graph, n_layers=LAYERS, part_nodes=10))
    kept = parts.StoredParts(tmp_path, iter(made))
    assert sorted(np.concatenate([part.core_ids for part in kept])) == list(range(graph.n_regions))
    for part, found in zip(made, kept, strict=True):
        for name in ("nodes", "core", "edge_index", "edge_rows"):
            np.testing.assert_array_equal(getattr(found, name), getattr(part, name))
    assert len(kept[1:]) == len(made) - 1
    with pytest.raises(IndexError):
        kept[len(made)]


def test_a_window_of_a_large_graph_is_that_of_the_whole(stored, tmp_path, monkeypatch):
    whole = lesson_of(stored, tmp_path, decoder=True).train[0]
    n = StoredGraph.open(stored).n_regions
    monkeypatch.setattr(parts, "MAX_NODES", n - 1)
    large = lesson_of(stored, tmp_path, decoder=True).train[0]
    assert isinstance(large, LargeSample)
    assert isinstance(whole, Sample)
    for seed, n_nodes in ((0, n // 3), (1, n // 3), (2, n - 1), (3, n), (4, n + 1)):
        ours = large.window(n_nodes, np.random.default_rng(seed))
        theirs = draw_window(whole, n_nodes, np.random.default_rng(seed)).to(CPU)
        assert ours.core is None
        assert ours.own is not None
        assert theirs.own is not None
        for name in (
            "x",
            "edge_index",
            "edge_attr",
            "target",
            "area",
            "pixels",
            "classes",
            "place",
        ):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
        np.testing.assert_array_equal(ours.own.factor, theirs.own.factor)


def test_graphs_without_blocks_stay_whole(stored, limit, tmp_path):
    graph = load_graph(stored)
    scalings = Scalings(
        fit_scaling([graph.x], graph.feature_names),
        fit_scaling([graph.edge_attr], graph.edge_feature_names),
    )
    sample = learned_sample(graph, None, scalings, own_share=0.0, n_layers=None, folder=tmp_path)
    assert isinstance(sample, Sample)


@pytest.mark.parametrize("n_classes", [1, 3])
def test_sums_of_parts_give_the_loss_of_all_rows(n_classes):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, n_classes, generator=generator, requires_grad=True)
    target = torch.rand(50, n_classes, generator=generator)
    target[:, 2:] = 0  # a class that does not occur
    area, weights = torch.rand(50, generator=generator), torch.tensor([1.0, 2.0, 3.0])[:n_classes]
    wanted = area_loss(logits, target, area, weights)
    cuts = [slice(0, 20), slice(20, 21), slice(21, 50)]
    sums = [area_sums(logits[c], target[c], area[c], weights) for c in cuts]
    found = loss_of_sums(torch.stack(sums).sum(0))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
    ours, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (found, wanted))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


def test_nothing_annotated_is_no_loss():
    sums = area_sums(torch.randn(3, 2), torch.zeros(3, 2), torch.zeros(3), torch.ones(2))
    assert loss_of_sums(sums) == 0


def test_all_parts_see_the_same_noise():
    n = 200_000  # more than one chunk
    rows = np.array([0, 7, 65_535, 65_536, 131_072, n - 1])
    found = noise_of(rows, n, 3, seed=5)
    np.testing.assert_array_equal(found[2:5], noise_of(rows[2:5], n, 3, seed=5))
    assert not torch.equal(found, noise_of(rows, n, 3, seed=6))
    many = noise_of(np.arange(0, n, 7), n, 3, seed=5)
    assert abs(many.mean()) < 0.02
    assert many.std() == pytest.approx(1, abs=0.02)
