"""dvc.yaml, without running it."""

from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_code_that_stages_depend_on_is_there():
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    deps = [dep for stage in stages.values() for dep in stage.get("deps", ())]
    code = [dep for dep in deps if dep.startswith(("src/", "pipelines/"))]
    assert len(code) > 20
    assert [dep for dep in code if not (REPOSITORY / dep).exists()] == []
