"""Same seed, same weights.

Measured: sums inside torch's CPU kernels are cut by the number of threads, so that one step of the
GNN on 1 and on 2 threads differs in the last digits, and two trainings end in different weights.
So the number of threads is a setting and not a property of the machine. One is the default: on a
machine that is busy with other stages, two threads waiting for each other took 2 to 40 times as
long as one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from spixgraph.errors import InputError


@contextmanager
def reproducible(seed: int, *, threads: int) -> Iterator[None]:
    """Seed torch, fix its threads and ask for deterministic kernels; put all back at the end.

    On a GPU, an operation without a deterministic kernel warns and runs all the same.
    """
    if threads < 1:
        raise InputError(f"threads must be >= 1, got {threads}")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    threads_before = torch.get_num_threads()
    strict, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    cudnn = torch.backends.cudnn.deterministic
    filling: Any = torch.utils.deterministic  # its property is made at run time
    filled = filling.fill_uninitialized_memory
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.deterministic = True
        # else every new tensor is written twice, in case a kernel reads what nobody wrote
        filling.fill_uninitialized_memory = False
        try:
            yield
        finally:
            filling.fill_uninitialized_memory = filled
            torch.backends.cudnn.deterministic = cudnn
            torch.use_deterministic_algorithms(strict, warn_only=warn_only)
            torch.set_num_threads(threads_before)
