"""Where training runs."""

import torch

from spixgraph.errors import InputError, ResourceError


def pick_device(name: str) -> torch.device:
    """Turn "auto", "cpu" or "cuda" into a device; "auto" takes a GPU where torch sees one.

    Raises
    ------
    ResourceError
        If "cuda" was asked for and torch sees no GPU; nothing falls back in silence.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device must be auto, cpu or cuda, got {name!r}")
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise ResourceError(
            f"device cuda was asked for, but torch {torch.__version__} sees no GPU; "
            "set train.device: cpu, or install a CUDA build of torch and a driver"
        )
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")
