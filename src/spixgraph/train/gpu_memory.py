"""GPU memory of this process alone; figures of the whole machine would count its neighbours."""

import torch


def reset_gpu_peak() -> None:
    """Start a new measurement; without a GPU, do nothing."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_gpu_bytes() -> int:
    """Return the most bytes that tensors of this process held since the last reset.

    Neither the CUDA context nor memory that torch keeps for later counts. Without a GPU it is 0.
    """
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
