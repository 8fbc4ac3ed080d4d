import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Threads that wait for each other on a busy machine make small networks ten times slower."""
    torch.set_num_threads(1)
