"""Training with pixel samples: a network that decodes pixels, whatever the exposure."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spixgraph.config.params import NodeTraining
from spixgraph.errors import GateError, InputError
from spixgraph.graph.image_scaling import Scalings
from spixgraph.graph.pixel_samples import PixelSamples
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.scaling import Scaling
from spixgraph.nets.build import build_node_net
from spixgraph.nets.decoder import pixel_logits
from spixgraph.train.checkpoints import load_checkpoint, save_checkpoint
from spixgraph.train.node_lesson import NodeLesson
from spixgraph.train.node_training import TrainedNodeNet, train_node_net
from tests.toy_graphs import toy_graph

CPU = torch.device("cpu")
NAMES = ("c0_intensity", "gradient_0", "place_y", "place_x")
FEATURES = ("c0_intensity_mean", "c0_intensity_std", "gradient_0_mean", "border", "elongation")
PARAMS = NodeTraining(hidden=16, layers=2, epochs=12, learning_rate=1e-2)
PER_NODE = 8


def toy(
    seed: int, *, gain: float = 1.0, brightness: float = 0.0
) -> tuple[RegionGraph, PixelSamples]:
    """Superpixels of mixed classes: bright pixels are class 1, whatever the node."""
    rng = np.random.default_rng(seed)
    graph = toy_graph(seed)
    n = graph.n_regions
    values = rng.normal(size=(n, PER_NODE, len(NAMES)))
    classes = (values[..., 0] + 0.3 * rng.normal(size=(n, PER_NODE)) > 0).astype(np.uint8)
    values[..., 0] = gain * values[..., 0] + brightness
    values[..., 1] *= gain
    x = np.abs(rng.normal(size=(n, len(FEATURES)))).astype(np.float32)
    x[:, 0] = gain * rng.normal(size=n) + brightness
    x[:, 1:3] *= gain
    ones = np.stack([1 - classes.mean(1), classes.mean(1)], 1).astype(np.float32)
    graph = replace(
        graph, x=x, feature_names=FEATURES, target=ones, annotated=np.ones(n, np.float32)
    )
    return graph, PixelSamples(NAMES, values.astype(np.float16), classes)


COMMITTEE = PARAMS.model_copy(update={"members": 3, "nodes_per_step": 24, "epochs": 3})


def train(
    params: NodeTraining = PARAMS,
    *,
    kind: str = "gnn",
    val_gain: float = 1.0,
    seed: int = 0,
    pixel_hidden: int = 0,
) -> TrainedNodeNet:
    pairs = [toy(s) for s in range(2)]
    val = [toy(10, gain=val_gain, brightness=val_gain - 1)]
    return train_node_net(
        kind,
        [g for g, _ in pairs],
        [g for g, _ in val],
        params,
        samples=([p for _, p in pairs], [p for _, p in val]),
        pixel_hidden=pixel_hidden,
        seed=seed,
        device=CPU,
    )


@pytest.mark.parametrize("kind", ["gnn", "mlp"])
def test_pixels_are_learned_where_superpixels_are_mixed(kind: str) -> None:
    """One class per superpixel can reach 0.5 of the pixels here, the decoder nearly all."""
    trained = train(kind=kind)
    assert trained.history[trained.best_epoch - 1].macro_iou > 0.75
    assert trained.build["n_pixel_columns"] == len(NAMES)


def test_another_exposure_costs_nothing() -> None:
    same, other = (train(val_gain=gain) for gain in (1.0, 4.0))
    ours, theirs = (t.history[t.best_epoch - 1].macro_iou for t in (same, other))
    assert theirs == pytest.approx(ours, abs=0.02)


@pytest.mark.parametrize("at_once", [1024, 7])
def test_score_is_that_of_the_decoded_samples(at_once: int, monkeypatch) -> None:
    monkeypatch.setattr("spixgraph.train.node_sample._DECODED_AT_ONCE", at_once)
    trained = train(val_gain=2.0)
    graph, pixels = toy(10, gain=2.0, brightness=1.0)
    scalings = trained.scalings_of(graph)
    columns = scalings.pixels
    assert columns is not None
    with torch.no_grad():
        logits, weights = trained.net.outputs(
            torch.from_numpy(scalings.nodes.apply(graph.x)),
            torch.from_numpy(graph.edge_index),
            torch.from_numpy(scalings.edges.apply(graph.edge_attr)),
        )
        rows = pixels.values.reshape(-1, len(NAMES)).astype(np.float32)
        values = columns.apply(rows).reshape(pixels.values.shape)
        decoded = pixel_logits(logits, weights, torch.from_numpy(values)).argmax(2).numpy()
    area = np.repeat(graph.n_pixels / PER_NODE, PER_NODE)
    iou = []
    for k in range(2):
        true, found = pixels.classes.ravel() == k, decoded.ravel() == k
        iou.append(area[true & found].sum() / area[true | found].sum())
    best = trained.history[trained.best_epoch - 1]
    assert best.macro_iou == pytest.approx(np.mean(iou), abs=2e-3)


@pytest.mark.parametrize(("n_graphs", "wanted"), [(3, {4}), (24, {1}), (40, {0, 1})])
def test_epochs_are_of_like_length(n_graphs: int, wanted: set[int], tmp_path: Path) -> None:
    graphs = [toy_graph(s, side=4) for s in range(n_graphs)]
    net = build_node_net(
        "mlp", n_features=5, n_edge_features=3, n_classes=2, hidden=4, layers=0, dropout=0.0
    )
    names, edge_names = graphs[0].feature_names, graphs[0].edge_feature_names
    scalings = Scalings(Scaling.identity(names), Scaling.identity(edge_names))
    lesson = NodeLesson(
        net, scalings, graphs, graphs[:1], None, augmented=False, device=CPU, folder=tmp_path
    )
    seen = [number for _, number in steps_of(lesson)]
    assert 10 <= len(seen) == lesson.n_steps <= 24
    assert {seen.count(number) for number in range(n_graphs)} == wanted


def steps_of(lesson):
    """Member and graph of each step of an epoch."""
    members, graphs = lesson.net.members, [id(sample.x) for sample in lesson.train]
    seen = []

    def note(net, sample):
        seen.append((members.index(net), graphs.index(id(sample.x))))
        return torch.zeros(())

    lesson._loss = note
    taken = [step.loss() for step in lesson.steps(np.random.default_rng(0))]
    assert len(taken) == len(seen)
    return seen


def test_each_member_of_a_committee_takes_its_own_steps(tmp_path: Path) -> None:
    graphs = [toy_graph(s, side=4) for s in range(3)]
    net = build_node_net(
        "mlp", n_features=5, n_edge_features=3, n_classes=2, hidden=4, layers=0, dropout=0.0,
        members=2,
    )  # fmt: skip
    names, edge_names = graphs[0].feature_names, graphs[0].edge_feature_names
    scalings = Scalings(Scaling.identity(names), Scaling.identity(edge_names))
    lesson = NodeLesson(
        net, scalings, graphs, graphs[:1], None, augmented=True, device=CPU, folder=tmp_path
    )
    steps = lesson.steps(np.random.default_rng(0))
    for turn in range(lesson.n_steps):
        net.zero_grad()
        step = next(steps)
        assert step.learner == turn % 2
        torch.autograd.backward(step.loss())
        learned = [any(p.grad is not None for p in m.parameters()) for m in net.members]
        assert learned == [turn % 2 == 0, turn % 2 == 1]
    assert next(steps, None) is None
    assert lesson.n_steps == 2 * 12
    lesson.augmented = False
    first, second = ([g for m, g in steps_of(lesson) if m == member] for member in (0, 1))
    assert sorted(first) == sorted(second) == sorted([0, 1, 2] * 4)
    assert first != second


@pytest.fixture
def threads_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Name the thread of each step."""
    seen: list[str] = []
    loss = NodeLesson._loss

    def noted(self, *args):
        seen.append(threading.current_thread().name)
        return loss(self, *args)

    monkeypatch.setattr(NodeLesson, "_loss", noted)
    return seen


def test_members_learn_side_by_side_what_they_learn_in_turns(threads_of, monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    in_turns = train(COMMITTEE, pixel_hidden=4)
    assert set(threads_of) == {"MainThread"}
    threads_of.clear()
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    side_by_side = train(COMMITTEE, pixel_hidden=4)
    assert {name.partition("_")[0] for name in threads_of} == {"learner"}  # one may take all
    assert [(r.loss, r.macro_iou) for r in side_by_side.history] == [
        (r.loss, r.macro_iou) for r in in_turns.history
    ]
    theirs = in_turns.net.state_dict()
    for name, weight in side_by_side.net.state_dict().items():
        assert torch.equal(weight, theirs[name])


@pytest.mark.parametrize("changes", [{"dropout": 0.1}, {"nodes_per_step": None}])
def test_members_take_turns_where_threads_would_cost(changes, threads_of) -> None:
    """Dropout draws random numbers within a step; whole graphs may be as large as memory."""
    train(COMMITTEE.model_copy(update=changes))
    assert set(threads_of) == {"MainThread"}


def test_a_member_that_diverges_ends_the_training(monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    with pytest.raises(GateError, match="learning_rate below 1e\\+30"):
        train(COMMITTEE.model_copy(update={"learning_rate": 1e30}))


def test_decoder_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    trained = train()
    save_checkpoint(tmp_path / "a", trained, extra={})
    back = load_checkpoint(tmp_path / "a").trained
    assert isinstance(back, TrainedNodeNet)
    assert trained.pixel_scaling is not None
    assert back.pixel_scaling is not None
    assert back.pixel_scaling.names == NAMES
    np.testing.assert_array_equal(back.pixel_scaling.mean, trained.pixel_scaling.mean)
    for name, weights in trained.net.state_dict().items():
        assert torch.equal(back.net.state_dict()[name], weights)
    again = train()
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.net.parameters(), trained.net.parameters(), strict=True)
    )


def test_samples_that_do_not_fit_are_refused() -> None:
    (graph, pixels), (val, val_pixels) = toy(0), toy(10)

    def refused(match: str, train_pixels: list[PixelSamples], kind: str = "gnn") -> None:
        with pytest.raises(InputError, match=match):
            train_node_net(
                kind,
                [graph],
                [val],
                PARAMS,
                samples=(train_pixels, [val_pixels]),
                seed=0,
                device=CPU,
            )

    refused("not those of its 1 graphs", [])
    fewer = PixelSamples(NAMES, pixels.values[:, :4], pixels.classes[:, :4])
    refused("2 different forms", [fewer])
    refused("no pixel decoder", [pixels], kind="paper")
