"""Same seed, same weights.

Measured: sums inside torch's CPU kernels are cut by the number of threads, so that one step of the
GNN on 1 and on 2 threads differs in the last digits, and two trainings end in different weights.
A fixed number of threads makes the bytes independent of the number of cores.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

CPU_THREADS = 2


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seed torch, fix its threads and ask for deterministic kernels; put all back at the end.

    On a GPU, an operation without a deterministic kernel warns and runs all the same.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    threads = torch.get_num_threads()
    strict, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    cudnn = torch.backends.cudnn.deterministic
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.set_num_threads(CPU_THREADS)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.deterministic = True
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic = cudnn
            torch.use_deterministic_algorithms(strict, warn_only=warn_only)
            torch.set_num_threads(threads)
