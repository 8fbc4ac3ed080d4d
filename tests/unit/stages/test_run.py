import os
import signal
from pathlib import Path

import pytest

from spixgraph.config.params import load_params
from spixgraph.errors import InputError, ResourceError
from spixgraph.stages.run import alone


def test_alone_is_another_process():
    assert alone(os.getpid) != os.getpid()


def test_threads_of_a_process_do_not_spin_unless_the_user_says_so():
    said = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
    assert alone(os.getenv, "OMP_WAIT_POLICY") == said


def test_an_error_comes_back_as_it_was():
    with pytest.raises(InputError, match="nowhere does not exist"):
        alone(load_params, Path("nowhere"))


def test_a_killed_process_is_a_clear_error():
    with pytest.raises(ResourceError, match=r"raise_signal was killed.*memory"):
        alone(signal.raise_signal, signal.SIGKILL)
