"""Convolutions in bfloat16, where that is faster than float32.

It has the range of float32 and a third of its digits (doi:10.48550/arXiv.1905.12322). Weights,
the loss and the optimiser stay in float32.
"""

from typing import Any

import torch

_NATIVE = ("amx_bf16", "avx512_bf16")
"""What a processor needs; others imitate bfloat16, which takes longer than float32."""


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return a context in which a CPU that can multiplies in bfloat16; else nothing changes."""
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.8: none
    is_fast = device.type == "cpu" and any(found.get(name, False) for name in _NATIVE)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_fast)
