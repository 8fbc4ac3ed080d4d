from pathlib import Path

import pytest
import yaml

from pipelines.workspace import merged
from spixgraph.config.params import Params, load_params
from spixgraph.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_committed_settings_are_valid_and_complete():
    written = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    assert load_params(REPOSITORY / "params.yaml").model_dump(mode="json") == written


def test_every_override_gives_valid_settings():
    base = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    paths = sorted((REPOSITORY / "pipelines/overrides").glob("*.yaml"))
    assert paths
    for path in paths:
        Params.model_validate(merged(base, yaml.safe_load(path.read_text())))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {gnn: {layer: 3}}", "train.gnn.layer"),
        ("train: {gnn: {layers: -1}}", "train.gnn.layers"),
        ("superpixels: {rag: {method: magic}}", "magic"),
        ("evaluate: {boundary_tolerance_px: two}", "evaluate.boundary_tolerance_px"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, said: str):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_params(path)
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        load_params(tmp_path / "params.yaml")
