from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spixgraph.config.params import NodeTraining
from spixgraph.errors import GateError, InputError, StoredDataError
from spixgraph.evaluate.counts import scores
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.train.loop import EpochRecord
from spixgraph.train.node_sample import pixels_per_class
from spixgraph.train.node_training import TrainedNodeNet, train_node_net
from tests.toy_graphs import toy_graph

CPU = torch.device("cpu")
TRAIN = [toy_graph(seed) for seed in range(3)]
VAL = [toy_graph(seed) for seed in (10, 11)]
QUICK = NodeTraining(hidden=8, layers=2, epochs=4, dropout=0.2)


def train(
    params: NodeTraining = QUICK,
    *,
    kind: str = "gnn",
    graphs: Sequence[RegionGraph] = TRAIN,
    val: Sequence[RegionGraph] = VAL,
    seed: int = 0,
    resume_path: Path | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> TrainedNodeNet:
    return train_node_net(
        kind,
        graphs,
        val,
        params,
        seed=seed,
        device=CPU,
        resume_path=resume_path,
        on_epoch=on_epoch,
    )


def weights_bytes(trained: TrainedNodeNet) -> bytes:
    return b"".join(w.numpy().tobytes() for w in trained.net.state_dict().values())


def best_iou(trained: TrainedNodeNet) -> float:
    return trained.history[trained.best_epoch - 1].macro_iou


def majority_iou() -> float:
    truth = sum(pixels_per_class(graph).sum(0) for graph in VAL)
    confusion = np.zeros((2, 2), np.int64)
    confusion[:, np.argmax(truth)] = truth
    return scores(confusion).macro_iou


def with_annotated(graph: RegionGraph, annotated: np.ndarray) -> RegionGraph:
    return replace(graph, annotated=annotated.astype(np.float32))


def test_all_kinds_learn_and_the_graph_helps() -> None:
    params = NodeTraining(hidden=8, layers=2, epochs=12, learning_rate=2e-2)
    weighted = [toy_graph(s, weight=True) for s in range(3)]
    weighted_val = [toy_graph(s, weight=True) for s in (10, 11)]
    gnn, mlp = best_iou(train(params)), best_iou(train(params, kind="mlp"))
    paper = best_iou(train(params, kind="paper", graphs=weighted, val=weighted_val))
    assert min(gnn, mlp, paper) > majority_iou() + 0.2
    assert gnn > mlp + 0.02


def test_weights_of_the_best_epoch_are_kept() -> None:
    trained = train(NodeTraining(hidden=8, layers=1, epochs=12, learning_rate=3e-2))
    history = [record.macro_iou for record in trained.history]
    assert trained.best_epoch == 1 + int(np.argmax(history))
    assert not trained.net.training
    confusion = np.zeros((2, 2), np.int64)
    for graph in VAL:
        with torch.no_grad():
            logits = trained.net(
                torch.from_numpy(trained.node_scaling.apply(graph.x)),
                torch.from_numpy(graph.edge_index),
                torch.from_numpy(trained.edge_scaling.apply(graph.edge_attr)),
            )
        assert graph.annotated is not None
        for node in np.flatnonzero(graph.annotated):  # slow twin: one superpixel at a time
            true = int(pixels_per_class(graph)[node].argmax())
            confusion[true, int(logits[node].argmax())] += graph.n_pixels[node]
    assert scores(confusion).macro_iou == best_iou(trained)


def test_targets_without_annotation_change_nothing() -> None:
    changed = []
    for graph in TRAIN:
        assert graph.target is not None
        assert graph.annotated is not None
        target = graph.target.copy()
        target[graph.annotated == 0] = [0.25, 0.75]
        changed.append(replace(graph, target=target))
    assert weights_bytes(train(graphs=changed)) == weights_bytes(train())


def test_annotated_targets_do_change_the_weights() -> None:
    assert TRAIN[0].target is not None
    changed = [replace(TRAIN[0], target=TRAIN[0].target[:, ::-1].copy()), *TRAIN[1:]]
    assert weights_bytes(train(graphs=changed)) != weights_bytes(train())


def test_same_seed_same_bytes_whatever_the_threads() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        torch.manual_seed(1)
        one = train()
        torch.set_num_threads(3)
        torch.manual_seed(2)
        three = train()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert weights_bytes(one) == weights_bytes(three)
    assert weights_bytes(one) != weights_bytes(train(seed=1))


class Killed(Exception):
    pass


def kill_at(epoch: int) -> Callable[[EpochRecord], None]:
    def on_epoch(record: EpochRecord) -> None:
        if record.epoch == epoch:
            raise Killed

    return on_epoch


def test_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    for epoch in (1, 3):
        with pytest.raises(Killed):
            train(resume_path=state, on_epoch=kill_at(epoch))
    told: list[int] = []
    resumed = train(resume_path=state, on_epoch=lambda record: told.append(record.epoch))
    whole = train()
    assert weights_bytes(resumed) == weights_bytes(whole)
    assert told == [1, 2, 3, 4]  # past epochs are told again, for the tracker of the new process
    assert [replace(r, seconds=0) for r in resumed.history] == [
        replace(r, seconds=0) for r in whole.history
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


def test_state_of_another_training_is_not_resumed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state.pt"
    train(resume_path=state)
    other = train(resume_path=state, seed=1)
    assert "starts anew" in caplog.text
    assert weights_bytes(other) == weights_bytes(train(seed=1))


def test_damaged_state_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    state.write_bytes(b"half a file")
    with pytest.raises(StoredDataError, match="delete it"):
        train(resume_path=state)


def test_patience_ends_the_run_after_a_cool_down() -> None:
    hopeless = [replace(g, x=np.zeros_like(g.x), edge_attr=g.edge_attr * 0) for g in TRAIN]
    trained = train(QUICK.model_copy(update={"epochs": 50, "patience": 4}), graphs=hopeless)
    last = trained.history[-1]
    assert last.epoch == trained.best_epoch + 4 + 2
    assert last.learning_rate < 0.1 * max(r.learning_rate for r in trained.history)


def test_minutes_end_the_run() -> None:
    trained = train(QUICK.model_copy(update={"epochs": 1000, "max_minutes": 1e-3}))
    assert 1 <= len(trained.history) < 200


def test_scaling_comes_from_training_graphs_alone() -> None:
    far = [replace(g, x=g.x + 1000) for g in VAL]
    scaling = train(val=far).node_scaling
    np.testing.assert_allclose(scaling.mean, np.concatenate([g.x for g in TRAIN]).mean(0), 1e-4)


def test_edge_weights_of_the_paper_stay_as_they_are() -> None:
    weighted = [toy_graph(s, weight=True) for s in range(3)]
    scaling = train(kind="paper", graphs=weighted[:2], val=weighted[2:]).edge_scaling
    assert (scaling.mean == 0).all()
    assert (scaling.scale == 1).all()
    with pytest.raises(InputError, match="weight"):
        train(kind="paper")


def test_pixels_are_recovered_exactly() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 100_000, (144, 3)) * (rng.random((144, 3)) < 0.5)
    annotated = counts.sum(1)
    n_pixels = annotated + rng.integers(1, 100_000, 144)
    target = counts / np.maximum(annotated, 1)[:, None]
    graph = replace(
        VAL[0],
        n_pixels=n_pixels,
        target=target.astype(np.float32),
        annotated=(annotated / n_pixels).astype(np.float32),
    )
    np.testing.assert_array_equal(pixels_per_class(graph), counts)


def test_unfit_graphs_are_refused() -> None:
    unmarked = [with_annotated(g, np.zeros(g.n_regions)) for g in VAL]
    with pytest.raises(InputError, match="val split is annotated"):
        train(val=unmarked)
    with pytest.raises(InputError, match="train split is annotated"):
        train(graphs=[])
    with pytest.raises(InputError, match="different"):
        train(val=[toy_graph(10, n_classes=3)])
    with pytest.raises(InputError, match="target"):
        train(val=[replace(VAL[0], target=None)])


def test_divergence_is_an_error() -> None:
    with pytest.raises(GateError, match="learning_rate below 1e\\+30"):
        train(QUICK.model_copy(update={"learning_rate": 1e30}))
