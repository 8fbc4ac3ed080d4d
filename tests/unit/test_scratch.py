import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from spixgraph.scratch import scratch_folder

HOLD = """
from spixgraph.scratch import scratch_folder
with scratch_folder() as folder:
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_folder_goes_when_it_is_done_with(tmp_path):
    with scratch_folder() as folder:
        (folder / "file").touch()
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path):
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD], env={**os.environ, "TMPDIR": str(tmp_path)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    killed, living = (holder.stdout.readline().strip() for holder in holders if holder.stdout)
    holders[0].send_signal(signal.SIGKILL)
    holders[0].communicate()
    foreign = tmp_path / "spixgraph-work-file"
    foreign.touch()
    for path in (killed, living, foreign):
        os.utime(path, (0, 0))
    with scratch_folder():
        assert not Path(killed).exists()
        assert Path(living).is_dir()
    holders[1].communicate("done\n")
    assert list(tmp_path.iterdir()) == [foreign]


def test_a_young_folder_that_nobody_holds_may_be_just_being_made(tmp_path):
    young = tmp_path / "spixgraph-work-young"
    young.mkdir()
    with scratch_folder():
        assert young.is_dir()
