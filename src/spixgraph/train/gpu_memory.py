"""GPU memory of this process alone; figures of the whole machine would count its neighbours."""

import importlib.util
import os

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


def process_gpu_bytes() -> int | None:
    """Return what the driver counts for this process now: tensors, context and kept memory.

    None without a GPU, without the package `nvidia-ml-py`, or where the driver does not tell, as
    in some containers.
    """
    if not torch.cuda.is_available() or importlib.util.find_spec("pynvml") is None:
        return None
    import pynvml

    pynvml.nvmlInit()
    try:
        device = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{_uuid()}")
        running = pynvml.nvmlDeviceGetComputeRunningProcesses(device)
        return next((p.usedGpuMemory for p in running if p.pid == os.getpid()), None)
    finally:
        pynvml.nvmlShutdown()


def _uuid() -> str:
    return str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
