from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Where the one registry of these tests lies, since making its database takes seconds."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(autouse=True)
def _here(folder, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(folder)
