import pytest

from spixgraph.errors import ResourceError
from spixgraph.predict import memory
from spixgraph.predict.card import MemoryContract

CONTRACT = MemoryContract(base_bytes=1000, bytes_per_pixel=2.5)


def test_prediction_is_linear_in_the_pixels():
    assert memory.predict_peak_bytes((1, 10, 20, 3), CONTRACT) == 1500
    assert memory.predict_peak_bytes((4, 10, 20, 3), CONTRACT) == 3000


def test_image_at_the_limit_passes_and_above_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 1500)
    memory.require_memory((1, 10, 20, 1), CONTRACT)
    with pytest.raises(ResourceError, match=r"\(1, 10, 21, 1\).*more memory.*megapixels"):
        memory.require_memory((1, 10, 21, 1), CONTRACT)


def test_message_has_the_figures(monkeypatch):
    contract = MemoryContract(base_bytes=100 * 2**20, bytes_per_pixel=100.0)
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 200 * 2**20)
    with pytest.raises(ResourceError, match=r"953 MiB.*200 MiB.*at most 1\.0 megapixels"):
        memory.require_memory((1, 2990, 2990, 1), contract)

