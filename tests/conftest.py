"""The order of test files: what takes longest begins first, so that no worker is left alone."""

from pathlib import Path

import pytest

_LONGEST_FIRST = (
    # chains
    "pipelines/test_dvc.py", "pipelines/test_scratch.py", "serving/test_lineage.py",
    "serving/test_bento.py", "pipelines/test_engine_benchmark.py", "pipelines/test_benchmark.py",
    "pipelines/test_experiment.py", "serving/test_jobs.py", "serving/test_registry_server.py",
    "serving/test_openapi.py", "browser/test_page.py",
    "unit/export/test_onnx_export.py", "unit/export/test_parity.py",
    "unit/export/test_bundle_writer.py",
    "unit/train/test_cnn_training.py", "unit/train/test_node_training.py",
    "unit/predict/test_contract.py", "unit/graph/stream/test_memory.py",
    "unit/graph/stream/test_cluster.py", "unit/predict/test_stream.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; pytest-xdist keeps the order with ``--no-loadscope-reorder``."""
    here = Path(__file__).parent
    rank = {here / name: number for number, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
