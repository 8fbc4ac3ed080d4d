import math

import numpy as np
import pytest
import torch
from torch import Tensor

from spixgraph.errors import InputError
from spixgraph.train.losses import MAX_CLASS_WEIGHT, area_loss, class_weights, pixel_loss

EVEN = torch.ones(3)


def random_rows(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 3, generator=generator)
    target = torch.rand(n, 3, generator=generator)
    area = torch.randint(0, 50, (n,), generator=generator).float()
    return logits, target / target.sum(1, keepdim=True), area


def slow_loss(logits: Tensor, target: Tensor, area: Tensor, weights: Tensor) -> float:
    """Pixel by pixel, as the definition says."""
    p = torch.softmax(logits.double(), 1).tolist()
    t, a, w = target.tolist(), area.tolist(), weights.tolist()
    rows, classes = range(len(p)), range(len(w))
    numerator = sum(-math.log(p[i][k]) * t[i][k] * a[i] * w[k] for i in rows for k in classes)
    loss = numerator / sum(t[i][k] * a[i] * w[k] for i in rows for k in classes)
    dice = []
    for k in classes:
        true = sum(t[i][k] * a[i] for i in rows)
        if true > 0:
            both = sum(p[i][k] * t[i][k] * a[i] for i in rows)
            dice.append((2 * both + 1) / (sum(p[i][k] * a[i] for i in rows) + true + 1))
    return loss + 1 - sum(dice) / len(dice)


def test_loss_equals_its_slow_twin() -> None:
    logits, target, area = random_rows(20)
    weights = torch.tensor([1.0, 2.0, 0.5])
    assert area_loss(logits, target, area, weights).item() == pytest.approx(
        slow_loss(logits, target, area, weights), rel=1e-5
    )


def test_absent_class_is_left_out_of_the_dice() -> None:
    logits, target, area = random_rows(20)
    target[:, 2] = 0
    assert area_loss(logits, target, area, EVEN).item() == pytest.approx(
        slow_loss(logits, target, area, EVEN), rel=1e-5
    )


def test_a_superpixel_counts_as_its_pixels() -> None:
    logits, _, _ = random_rows(2)
    mask = torch.tensor([[0, 0, 1, 255, 2, 2]], dtype=torch.uint8)
    pixels = logits[[0, 0, 0, 0, 1, 1]].T[None]
    target = torch.tensor([[2 / 3, 1 / 3, 0], [0, 0, 1]])
    rows = area_loss(logits, target, torch.tensor([3.0, 2.0]), EVEN)
    torch.testing.assert_close(pixel_loss(pixels, mask, EVEN), rows)


def test_rows_without_annotation_count_nowhere() -> None:
    logits, target, area = random_rows(20)
    area[:5] = 0
    logits.requires_grad_()
    area_loss(logits, target, area, EVEN).backward()
    assert logits.grad is not None
    assert (logits.grad[:5] == 0).all()
    assert (logits.grad[5:] != 0).all()


def test_nothing_annotated_gives_zero_and_no_nan() -> None:
    logits, target, area = random_rows(4)
    logits.requires_grad_()
    loss = area_loss(logits, target * 0, area * 0, EVEN)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_class_weights() -> None:
    weights = class_weights(np.array([9e6, 1e6, 1.0, 0.0]))
    assert weights.tolist() == pytest.approx([1, 3, MAX_CLASS_WEIGHT, 0])
    with pytest.raises(InputError, match="annotated"):
        class_weights(np.zeros(3))
