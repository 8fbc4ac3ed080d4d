"""Convolutions in bfloat16: only where the processor has them, and close to float32."""

import pytest
import torch

from spixgraph.nets.cnn import build_cnn
from spixgraph.train.precision import mixed_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("found", "is_fast"),
    [
        ({"amx_bf16": True}, True),
        ({"avx512_bf16": True, "avx2": True}, True),
        ({"avx2": True, "amx_bf16": False}, False),
        ({}, False),
    ],
)
def test_only_processors_that_multiply_bfloat16_do(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, bool], is_fast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    with mixed_precision(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if is_fast else torch.float32)


def test_an_older_torch_keeps_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    with mixed_precision(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(("n_dims", "shape"), [(2, (2, 1, 32, 32)), (3, (1, 1, 8, 32, 32))])
def test_the_network_gives_float32_close_to_that_without(
    monkeypatch: pytest.MonkeyPatch, n_dims: int, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    net = build_cnn(n_dims=n_dims, n_channels=1, n_classes=2, channels=(8, 16, 32))
    image = torch.randn(shape)
    with torch.no_grad():
        exact = net(image)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    with mixed_precision(CPU):
        rough = net(image)
    rough.sum().backward()
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.0, atol=0.05 * float(exact.abs().max()))
    assert all(p.grad.dtype == torch.float32 for p in net.parameters() if p.grad is not None)
