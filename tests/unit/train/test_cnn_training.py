from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from spixgraph.arrays import NOT_ANNOTATED, ShapeZYX
from spixgraph.config.params import CnnTraining
from spixgraph.errors import InputError
from spixgraph.evaluate.counts import confusion, scores
from spixgraph.nets.cnn import predict_cnn
from spixgraph.train.cnn_training import TrainedCnn, train_cnn
from spixgraph.train.loop import EpochRecord
from spixgraph.train.patches import AnnotatedImage

CPU = torch.device("cpu")
TINY = CnnTraining(
    channels=(4, 8, 8),
    patch_px=32,
    patch_px_3d=(4, 16, 16),
    batch=2,
    epochs=2,
    steps_per_epoch=3,
    learning_rate=1e-2,
)


def blobs(seed: int, shape: ShapeZYX = (1, 48, 56)) -> AnnotatedImage:
    """Bright noisy discs on a dark ground; a stripe is not annotated."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(shape)
    mask = np.zeros(shape, np.uint8)
    for _ in range(4):
        centre = rng.uniform(0, shape)
        mask[(z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 80] = 1
    image = np.clip(0.3 + 0.3 * mask + rng.normal(0, 0.15, shape), 0, 1)
    mask[:, :4] = NOT_ANNOTATED
    return AnnotatedImage(image[..., None].astype(np.float32), mask)


TRAIN, VAL = [blobs(0), blobs(1)], [blobs(2, (1, 40, 40))]


def train(
    params: CnnTraining = TINY,
    *,
    seed: int = 0,
    resume_path: Path | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> TrainedCnn:
    return train_cnn(
        TRAIN,
        VAL,
        params,
        n_classes=2,
        seed=seed,
        device=CPU,
        resume_path=resume_path,
        on_epoch=on_epoch,
    )


def weights_bytes(trained: TrainedCnn) -> bytes:
    return b"".join(w.numpy().tobytes() for w in trained.net.state_dict().values())


def test_it_learns_and_scores_whole_images() -> None:
    trained = train(TINY.model_copy(update={"epochs": 6, "steps_per_epoch": 10}))
    mask = predict_cnn(
        trained.net,
        VAL[0].image,
        window_zyx=trained.window_zyx,
        overlap=trained.overlap,
        device="cpu",
    )
    score = scores(confusion(VAL[0].mask, mask, n_classes=2))
    assert score.macro_iou == trained.history[trained.best_epoch - 1].macro_iou
    assert score.macro_iou > 0.7
    majority = scores(confusion(VAL[0].mask, np.zeros_like(mask), n_classes=2))
    assert majority.macro_iou < 0.5


def test_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    def killed(record: EpochRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(resume_path=tmp_path / "state.pt", on_epoch=killed)
    whole = weights_bytes(train())
    assert weights_bytes(train(resume_path=tmp_path / "state.pt")) == whole
    assert weights_bytes(train(seed=1)) != whole


def test_volumes_are_trained_in_3d() -> None:
    volumes = [blobs(seed, (6, 20, 24)) for seed in range(2)]
    trained = train_cnn(volumes[:1], volumes[1:], TINY, n_classes=2, seed=0, device=CPU)
    assert trained.build["n_dims"] == 3
    assert trained.window_zyx == (4, 16, 16)
    assert len(trained.history) == 2


def test_unfit_images_are_refused() -> None:
    def refused(train: list[AnnotatedImage], val: list[AnnotatedImage], match: str) -> None:
        with pytest.raises(InputError, match=match):
            train_cnn(train, val, TINY, n_classes=2, seed=0, device=CPU)

    blank = AnnotatedImage(VAL[0].image, np.full_like(VAL[0].mask, NOT_ANNOTATED))
    colour = AnnotatedImage(np.repeat(VAL[0].image, 3, axis=3), VAL[0].mask)
    foreign = AnnotatedImage(VAL[0].image, np.full_like(VAL[0].mask, 2))
    refused(TRAIN, [blank], "val split is annotated")
    refused([], VAL, "train split is annotated")
    refused([*TRAIN, colour], VAL, "differ")
    refused([*TRAIN, blobs(3, (6, 20, 24))], VAL, "differ")
    refused([*TRAIN, foreign], VAL, "class ids up to 2")
    with pytest.raises(InputError, match="multiple"):
        train(TINY.model_copy(update={"patch_px": 34}))
