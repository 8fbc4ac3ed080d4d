import pytest

from spixgraph.errors import InputError, StoredDataError
from spixgraph.serve.bento import _pinned, _write_context, build_bento, serve_command
from tests.toy_bundle import write_toy_bundle


def test_requirements_are_what_runs_now_without_training():
    pins = dict(_pinned("spixgraph", "serve"))
    assert {"numpy", "bentoml", "starlette", "python-multipart", "tifffile"} <= set(pins)
    assert not {"spixgraph", "torch", "mlflow", "dvc", "pytest"} & set(pins)
    import numpy as np

    assert pins["numpy"] == np.__version__


def test_extras_are_followed():
    assert "bentoml" not in dict(_pinned("spixgraph"))


def test_context_is_the_package_and_nothing_else(tmp_path):
    _write_context(tmp_path, with_cuda=True)
    assert {p.name for p in tmp_path.iterdir()} == {"src", "requirements.txt"}
    files = [p for p in (tmp_path / "src").rglob("*") if p.is_file()]
    assert tmp_path / "src/spixgraph/serve/service.py" in files
    assert not [p for p in files if "__pycache__" in p.parts]


def test_bentofile_and_bundle_are_checked_first(tmp_path):
    with pytest.raises(InputError, match=r"bentofile\.yaml does not exist"):
        build_bento(tmp_path, bentofile=tmp_path / "bentofile.yaml")
    (tmp_path / "bentofile.yaml").touch()
    path = write_toy_bundle(tmp_path / "bundle")
    (path / "LICENSE").write_text("changed\n")
    with pytest.raises(StoredDataError, match="LICENSE was changed"):
        build_bento(path, bentofile=tmp_path / "bentofile.yaml")


def test_serve_command_binds_to_loopback_without_telemetry():
    command = serve_command("m:v")
    assert command.startswith("BENTOML_DO_NOT_TRACK=True bentoml serve m:v")
    assert "--host 127.0.0.1" in command
