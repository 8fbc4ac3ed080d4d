import pytest

from spixgraph.errors import InputError
from spixgraph.serve.settings import ServeSettings, read_settings


def test_defaults():
    assert read_settings({}) == ServeSettings()


def test_all_can_be_set(tmp_path):
    keys = tmp_path / "keys"
    keys.touch()
    env = {
        "SPIXGRAPH_MAX_BODY_MB": "1.5",
        "SPIXGRAPH_DEVICE": "cpu",
        "SPIXGRAPH_KEYS": str(keys),
        "SPIXGRAPH_ROOTS": f"{tmp_path}:{tmp_path}",
        "SPIXGRAPH_STATE": str(tmp_path / "new"),
        "SPIXGRAPH_SAMPLES": str(tmp_path),
        "SPIXGRAPH_QUEUE": "3",
        "SPIXGRAPH_MAX_JOBS": "4",
        "SPIXGRAPH_TIMEOUT_S": "5",
        "SPIXGRAPH_BODY_TIMEOUT_S": "6",
        "SPIXGRAPH_IDLE_TIMEOUT_S": "9",
        "SPIXGRAPH_MAX_MEMORY_MB": "7",
        "SPIXGRAPH_GPU_MEMORY_MB": "2000",
        "SPIXGRAPH_KEEP_HOURS": "8",
    }
    assert read_settings(env) == ServeSettings(
        max_body_bytes=1_500_000, device="cpu", keys=keys, roots=(tmp_path, tmp_path),
        state=tmp_path / "new", samples=tmp_path, queue=3, max_jobs=4, timeout_s=5.0,
        body_timeout_s=6.0, idle_timeout_s=9.0, max_memory_bytes=7_000_000,
        gpu_memory_bytes=2_000_000_000, keep_hours=8.0,
    )  # fmt: skip


@pytest.mark.parametrize("text", ["0", "-1", "many", "nan", "inf", ""])
@pytest.mark.parametrize("name", ["MAX_BODY_MB", "TIMEOUT_S", "MAX_MEMORY_MB"])
def test_numbers_are_above_zero(name, text):
    with pytest.raises(InputError, match=f"SPIXGRAPH_{name} must be a number > 0"):
        read_settings({f"SPIXGRAPH_{name}": text})


def test_places_must_be_there(tmp_path):
    gone = str(tmp_path / "gone")
    with pytest.raises(InputError, match="not a folder"):
        read_settings({"SPIXGRAPH_ROOTS": gone})
    with pytest.raises(InputError, match="not a file"):
        read_settings({"SPIXGRAPH_KEYS": gone})


def test_unknown_device():
    with pytest.raises(InputError, match="must be auto, cpu or cuda, got 'gpu'"):
        read_settings({"SPIXGRAPH_DEVICE": "gpu"})
